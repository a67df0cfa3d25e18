// Package sharedtest finds the folder of goldens and data sets that lies beside
// the checkout and is not part of the repository.
package sharedtest

import (
	"os"
	"path/filepath"
	"testing"
)

// Path returns the path of rel (slash-separated) under the shared folder:
// $EISFT_SHARED, or else the first folder named "shared" that lies in the working
// directory or one of its parents. Where the folder or rel in it is absent the
// test is skipped.
func Path(t testing.TB, rel string) string {
	t.Helper()
	root := folder(t)
	path := filepath.Join(root, filepath.FromSlash(rel))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the shared folder %s has no %s: %v", root, rel, err)
	}
	return path
}

func folder(t testing.TB) string {
	t.Helper()
	if root := os.Getenv("EISFT_SHARED"); root != "" {
		return root
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the shared folder: %v", err)
	}
	for {
		root := filepath.Join(dir, "shared")
		if info, err := os.Stat(root); err == nil && info.IsDir() {
			return root
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("no folder named shared beside the checkout: set EISFT_SHARED to where the goldens are")
		}
		dir = parent
	}
}
