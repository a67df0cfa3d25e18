package eval

import (
	"math/rand/v2"

	"eisft/model"
)

// random keeps tokens at random, a control: a score by chance is worth this much. Each token
// has one number for each layer and KV head, drawn from a seed, so that the slots are a
// uniform sample of all that has left the window, and the same whatever a text is cut into.
var random = policy{
	title: "sinks, window, and tokens drawn at random (a control)",
	model: func(m *model.Model, slots int) (*model.Model, error) {
		return evict(m, m.Spec, PolicyRandom, evenly(slots, len(m.Base.Layers)), func(*model.Model) model.Eviction {
			return model.Eviction{Score: draw(0)}
		})
	},
	seeded: func(m *model.Model, seed int) *model.Model {
		other, e := *m, *m.Eviction
		e.Score = draw(uint64(seed))
		other.Eviction = &e
		return &other
	},
}

// draw scores tokens by a seed.
func draw(seed uint64) func([]float32, model.Candidates) {
	return scoreEach(func(c model.Candidates, row, kv int) float32 {
		token := uint64(c.Token[row*c.Dims.KVHeads+kv])
		return rand.New(rand.NewPCG(seed, token<<32|uint64(c.Layer.Index)<<16|uint64(kv))).Float32()
	})
}
