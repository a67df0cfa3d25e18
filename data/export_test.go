package data

import "testing"

// KeepEveryCheck keeps checks in the cache that took no time.
func KeepEveryCheck(t *testing.T) {
	was := worthKeeping
	worthKeeping = -1
	t.Cleanup(func() { worthKeeping = was })
}
