package export

import (
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
)

// TestFits plans the memory of a verification: 8 layers of 2 KV heads of 64 take 8 KiB a
// cached token in float32.
func TestFits(t *testing.T) {
	b, err := model.LoadBase(testfiles.Base(t, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	small, large := Size{Tokens: 512, Cache: 2048}, Size{Tokens: 32, Cache: 1_000_000}
	if need := small.verificationBytes(b); need < 3*(2560<<13) || need > 300<<20 {
		t.Errorf("%s takes %d bytes", small, need)
	}
	if err := small.fits(b, 1<<30); err != nil {
		t.Error(err)
	}
	const want = "shape 32x1000000: to compare its graphs with the Go model takes about 39 GiB, but only 6.0 GiB are free; export a smaller one, or do not compare (--verify=false)"
	if err := large.fits(b, 6<<30); err == nil || strings.TrimSpace(err.Error()) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
