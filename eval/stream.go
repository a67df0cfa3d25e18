package eval

import (
	"context"
	"errors"
	"slices"

	"eisft/model"
)

// stream is what a sample is read with: the model's own, or one of exported graphs.
type stream interface {
	Read(ctx context.Context, ids []int32, progress func(done int)) ([]float32, error)
	Generate(ctx context.Context, next []float32, o model.GenerateOptions) ([]int32, error)
	// likelihood feeds an answer and returns its negative log-likelihood; next [V]
	// are the logits of its first token and are overwritten.
	likelihood(ctx context.Context, next []float32, answer []int32) (float64, error)
	clone() (stream, error)
	close() error
}

// modelStream is a stream of the model.
type modelStream struct {
	*model.Stream
	of *model.Model
}

func (s modelStream) clone() (stream, error) { return modelStream{s.Clone(), s.of}, nil }

func (s modelStream) close() error { return nil }

func (s modelStream) likelihood(ctx context.Context, next []float32, answer []int32) (float64, error) {
	sum := surprise(next, answer[0])
	err := s.Feed(ctx, answer, 0, func(first int, hidden []float32) error {
		for row := range slices.Chunk(hidden, s.of.Base.Dims.Hidden) {
			if first++; first == len(answer) {
				break // nothing of the answer follows its last token
			}
			s.Logits(next, row)
			sum += surprise(next, answer[first])
		}
		return nil
	})
	return sum, err
}

// PolicyGraph is how exported graphs read: as the model does that they were made from. It is no
// entry of the table of policies, since no model reads so; see [Graphs].
const PolicyGraph Policy = "graph"

// graphs is what is known of PolicyGraph.
var graphs = policy{
	title:   "exported graphs",
	trained: true,
}

// errNoGraphs is about a policy without what it reads with.
var errNoGraphs = errors.New("policy graph reads with exported graphs, and none are named: eisft eval --graph FOLDER")

// Graphs are exported graphs, which are read under PolicyGraph.
type Graphs struct {
	SHA256 string // tells them apart
	Open   func() (GraphStream, error)
}

// GraphStream reads one sequence with exported graphs.
type GraphStream interface {
	Read(ctx context.Context, ids []int32, progress func(done int)) ([]float32, error)
	Generate(ctx context.Context, next []float32, o model.GenerateOptions) ([]int32, error)
	// Clone returns another stream that has read the same.
	Clone() (GraphStream, error)
	Close() error
}

// graphStream is a stream of exported graphs.
type graphStream struct{ GraphStream }

func (s graphStream) clone() (stream, error) {
	same, err := s.Clone()
	return graphStream{same}, err
}

func (s graphStream) close() error { return s.Close() }

// likelihood reads token by token: a prompt graph may give the logits of the last one alone.
func (s graphStream) likelihood(ctx context.Context, next []float32, answer []int32) (float64, error) {
	sum := surprise(next, answer[0])
	for i := range answer {
		logits, err := s.Read(ctx, answer[i:i+1], nil)
		if err != nil {
			return 0, err
		}
		if i+1 < len(answer) {
			sum += surprise(logits, answer[i+1])
		}
	}
	return sum, nil
}

// newStream begins a text.
func (e *evaluation) newStream() (stream, error) {
	if e.reading.Policy != PolicyGraph {
		return modelStream{e.model.NewStream(e.options.Stream), e.model}, nil
	}
	st, err := e.options.Graphs.Open()
	return graphStream{st}, err
}
