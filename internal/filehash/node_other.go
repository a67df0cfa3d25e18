//go:build !linux && !darwin

package filehash

import "io/fs"

// node tells a file from another one that has come to its place; here time and size must do.
func node(fs.FileInfo) string { return "" }
