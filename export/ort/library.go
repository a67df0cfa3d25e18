package ort

import (
	"fmt"
	"os"
	"path/filepath"
)

// libraryName is the name under which scripts/fetch-onnxruntime.sh stores the library.
const libraryName = "libonnxruntime.so.1"

// Library returns the path of the shared library that Open uses: $EISFT_ONNXRUNTIME,
// or .cache/onnxruntime/libonnxruntime.so.1 in the working directory, or
// eisft/onnxruntime/libonnxruntime.so.1 in the user's cache folder.
func Library() (string, error) {
	if path := os.Getenv("EISFT_ONNXRUNTIME"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("EISFT_ONNXRUNTIME: %w", err)
		}
		return path, nil
	}
	candidates := []string{filepath.Join(".cache", "onnxruntime", libraryName)}
	if cache, err := os.UserCacheDir(); err == nil {
		candidates = append(candidates, filepath.Join(cache, "eisft", "onnxruntime", libraryName))
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("ONNX Runtime is not there (looked for %v): run scripts/fetch-onnxruntime.sh, or set EISFT_ONNXRUNTIME to the library", candidates)
}
