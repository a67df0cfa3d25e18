package export

import (
	"testing"

	"eisft/export/ort"
)

// VerifyAt lets the verifications of a test load graphs at some levels alone.
func VerifyAt(t testing.TB, levels ...ort.Level) {
	before := verifiedLevels
	verifiedLevels = levels
	t.Cleanup(func() { verifiedLevels = before })
}
