package strictyaml

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Find returns the file that a command line names. A bare name such as
// "s-sft.yaml" that does not exist in the working directory is also looked for
// in the given folder ("configs") of the working directory, of the program's own folder
// and of all folders above these.
func Find(folder, name string) (string, error) {
	if _, err := os.Stat(name); err == nil || filepath.Base(name) != name {
		return name, err
	}
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	if path, ok := findAbove(starts, filepath.Join(folder, name)); ok {
		return path, nil
	}
	return "", fmt.Errorf("%s: no such file here, nor in a %s folder in or above %s", name, folder, strings.Join(starts, " or "))
}

// findAbove looks for a file in each of the folders and all that contain it.
func findAbove(folders []string, file string) (string, bool) {
	for _, dir := range folders {
		for {
			path := filepath.Join(dir, file)
			if _, err := os.Stat(path); err == nil {
				return path, true
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", false
}
