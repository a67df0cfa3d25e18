package strictyaml

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/internal/nearest"
)

// Find returns the file that a command line names. A bare name such as
// "s-sft.yaml" that does not exist in the working directory is also looked for
// in the given folder ("configs") of the working directory, of the program's own folder
// and of all folders above these. The error says which of the files there was probably meant.
func Find(folder, name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("the file's name is empty; give a path, or the name of a file in %s", folder)
	}
	if _, err := os.Stat(name); err == nil {
		return name, nil
	} else if filepath.Base(name) != name {
		return "", fmt.Errorf("%w%s", err, meant(name, filepath.Dir(name)))
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
	beside := []string{"."}
	if dir, ok := findAbove(starts, folder); ok {
		beside = append(beside, dir)
	}
	return "", fmt.Errorf("%s: no such file here, nor in a %s folder in or above %s%s", name, folder, strings.Join(starts, " or "), meant(name, beside...))
}

// meant suggests a file of some folders for a name that is none of them.
func meant(name string, folders ...string) string {
	var known []string
	for _, dir := range folders {
		entries, _ := os.ReadDir(dir) // a folder that cannot be read has no suggestions
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".yaml", ".yml"}, ext) {
				known = append(known, e.Name())
			}
		}
	}
	base := filepath.Base(name)
	near := nearest.Name(base, known)
	if i := slices.IndexFunc(known, func(k string) bool { return strings.TrimSuffix(k, filepath.Ext(k)) == base }); i >= 0 {
		near = known[i]
	}
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
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
