// Package hostfiles holds the hosts that export puts beside graphs: programs in other
// languages that drive them as docs/runtime.md says.
package hostfiles

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"

	"eisft/internal/atomicfile"
)

// Each folder is a host; its README says how to try it.
//
//go:embed cpp js
var files embed.FS

// Names lists the hosts.
func Names() []string {
	entries, _ := fs.ReadDir(files, ".") // the root of embedded files can be read
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Write puts a host into a folder of its name in dir.
func Write(dir, name string) error {
	return fs.WalkDir(files, name, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(file))
		if e.IsDir() {
			return os.MkdirAll(to, 0o777)
		}
		text, err := files.ReadFile(file)
		if err != nil {
			return err
		}
		return atomicfile.WriteFile(to, text)
	})
}
