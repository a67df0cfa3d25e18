package graph

import (
	"fmt"
	"sync"

	G "gorgonia.org/gorgonia"

	"eisft/model"
)

// key is everything that a program's graph depends on. Runs that have it in common
// share programs, whichever layer they are for.
type key struct {
	kind kind
	form form // of the layer; zero where the graph depends on the base's sizes alone
	rows int  // T, tokens, or rows of the loss
	// scores is how many tokens come with a score: N slots of a block, or what enters
	// the memory.
	scores  int
	memory  bool // of a block: the memory is in use
	rounded bool // activations are rounded: see Rounding
	valued  bool // the result is wanted, and not its gradients alone
}

func (k key) String() string {
	return fmt.Sprintf("%s of %d rows, %d scores, memory %v, rounded %v, for a layer of %+v", k.kind, k.rows, k.scores, k.memory, k.rounded, k.form)
}

// kind is a kind of program.
type kind int

// The kinds of programs.
const (
	blockKind    kind = iota // a layer
	transferKind             // a layer's attention, and how far it is from the base's
	scoreKind                // the score that is kept with every token
	writeKind                // a write to the memory
	headKind                 // the loss
	logitsKind               // the loss of distilled logits
	fitKind                  // a layer's distance from what it should put out, by its maps
)

// kinds holds how the graph of each kind is built, up to its result.
var kinds = map[kind]struct {
	name  string
	build func(*builder) *G.Node
}{
	blockKind:    {"block", buildBlock},
	transferKind: {"transfer", buildTransfer},
	scoreKind:    {"score", buildTokenScore},
	writeKind:    {"write", buildWrite},
	headKind:     {"head", buildHead},
	logitsKind:   {"logits", buildLogits},
	fitKind:      {"fit", buildFit},
}

func (k kind) String() string { return kinds[k].name }

// newProgram builds the program of a key from a layer of its form, nil for a
// program that belongs to none.
func newProgram(m *model.Model, k key, layer *model.Layer) (*program, error) {
	b := newBuilder(m, k, layer)
	return b.compile(kinds[k.kind].build(b))
}

// programs builds a program for each key, and more where several runs of one key
// go on at once.
type programs struct {
	model *model.Model
	round func(layer *model.Layer, at Site, x []float32) // nil: nothing is rounded
	mutex sync.Mutex
	idle  map[key][]*program
}

// do runs a program of the key. See [program.do].
func (p *programs) do(k key, r run) error {
	k.rounded, r.round, k.valued = p.round != nil, p.round, r.result != nil
	prog := p.take(k)
	if prog == nil {
		var err error
		if prog, err = newProgram(p.model, k, r.layer); err != nil {
			return fmt.Errorf("build the program %s: %w", k, err)
		}
	}
	err := prog.do(r)
	p.mutex.Lock()
	p.idle[k] = append(p.idle[k], prog)
	p.mutex.Unlock()
	if err != nil {
		return fmt.Errorf("program %s: %w", k.kind, err)
	}
	return nil
}

// take returns an idle program or nil.
func (p *programs) take(k key) *program {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	list := p.idle[k]
	if len(list) == 0 {
		return nil
	}
	last := len(list) - 1
	p.idle[k] = list[:last]
	return list[last]
}
