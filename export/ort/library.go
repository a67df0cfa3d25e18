package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// libraryVariable names the library before all other places.
const libraryVariable = "EISFT_ONNXRUNTIME"

// libraryNames are the names under which the library is found: that of
// scripts/fetch-onnxruntime.sh, and those of packages.
func libraryNames() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.1.dylib"}
	case "windows":
		return []string{"onnxruntime.dll"}
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so"}
}

// systemFolders are where packages of the system put libraries.
func systemFolders() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"/opt/homebrew/lib", "/usr/local/lib"}
	case "windows":
		return nil
	}
	multiarch := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	folders := filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))
	folders = append(folders, "/usr/local/lib", "/usr/local/lib64")
	if multiarch != "" {
		folders = append(folders, "/usr/lib/"+multiarch, "/lib/"+multiarch)
	}
	return append(folders, "/usr/lib64", "/usr/lib", "/lib64", "/lib")
}

// libraryFolders are where the library is looked for, in this order: beside the program
// and in the lib folder beside its own, in the checkout, in the user's cache folder, and
// where the system has libraries.
func libraryFolders() []string {
	var folders []string
	if program, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(program); err == nil {
			program = real
		}
		dir := filepath.Dir(program)
		folders = append(folders, dir, filepath.Join(filepath.Dir(dir), "lib"))
	}
	folders = append(folders, filepath.Join(".cache", "onnxruntime"))
	if cache, err := os.UserCacheDir(); err == nil {
		folders = append(folders, filepath.Join(cache, "eisft", "onnxruntime"))
	}
	folders = append(folders, systemFolders()...)
	folders = slices.DeleteFunc(folders, func(f string) bool { return f == "" })
	return folders
}

// Library returns the path of the shared library that Open uses: $EISFT_ONNXRUNTIME, or
// the first that lies in one of the folders where it is looked for. The error lists them.
func Library() (string, error) {
	if path := os.Getenv(libraryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", libraryVariable, err)
		}
		return path, nil
	}
	folders := libraryFolders()
	for _, dir := range folders {
		for _, name := range libraryNames() {
			if path := filepath.Join(dir, name); isFile(path) {
				return filepath.Abs(path)
			}
		}
	}
	return "", fmt.Errorf("ONNX Runtime is not there: run scripts/fetch-onnxruntime.sh, install its package, or set %s to the library; looked for %s in %s",
		libraryVariable, strings.Join(libraryNames(), " and "), strings.Join(folders, ", "))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
