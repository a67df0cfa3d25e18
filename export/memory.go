package export

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/dustin/go-humanize"

	"eisft/internal/mapped"
	"eisft/model"
)

// rest gives back what a step of an export has left in memory: garbage, and the pages of the
// checkpoint, which the step that comes may not read.
func rest() {
	const worthIt = 128 << 20 // a collection costs more than less memory is worth
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapSys-m.HeapReleased > worthIt {
		debug.FreeOSMemory()
	}
	mapped.Rest()
}

// verificationBytes estimates what the verification of a shape takes beside the weights: the
// caches of the Go model and, twice for the round trip through float16, those of the host
// and of the runtime, and the scores of one layer's attention there, twice.
func (s Size) verificationBytes(b *model.Base) int64 {
	const copies, float = 5, 4
	d := b.Dims
	cache := int64(len(b.Layers)) * int64(s.Cache+s.Tokens) * int64(d.KVHeads*d.HeadDim) * 2 * float
	scores := int64(d.Heads) * int64(s.Tokens) * int64(s.Cache+s.Tokens) * float
	return copies*cache + 2*scores
}

// fits reports a shape whose verification would take more memory than there is.
func (s Size) fits(b *model.Base, available int64) error {
	if need := s.verificationBytes(b); need > available {
		return fmt.Errorf("shape %s: to compare its graphs with the Go model takes about %s, but only %s are free; export a smaller one, or do not compare (--verify=false)",
			s, humanize.IBytes(uint64(need)), humanize.IBytes(uint64(max(available, 0))))
	}
	return nil
}
