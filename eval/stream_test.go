package eval

import (
	"math"
	"strings"
	"testing"

	"eisft/model"
)

// countedStream stands for exported graphs: the model's own stream, of which is counted how
// many are open.
type countedStream struct {
	*model.Stream
	open *int
}

func (s countedStream) Clone() (GraphStream, error) {
	*s.open++
	return countedStream{s.Stream.Clone(), s.open}, nil
}

func (s countedStream) Close() error {
	*s.open--
	return nil
}

// TestGraphs: graphs that read as the model does answer as it does, with texts read once and
// answers read token by token, and every stream is closed.
func TestGraphs(t *testing.T) {
	j := interviewJob(t, PolicyEISFT, PolicyGraph)
	if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "eisft eval --graph FOLDER") {
		t.Errorf("without graphs: %v", err)
	}
	open := 0
	j.Graphs = &Graphs{SHA256: "ab", Open: func() (GraphStream, error) {
		open++
		return countedStream{j.Model.NewStream(model.StreamOptions{}), &open}, nil
	}}
	r := run(t, j)
	if open != 0 {
		t.Errorf("%d streams are open", open)
	}
	goModel, graph := r.Results[0], r.Results[1]
	if graph.Title() != "graph" || graph.Budget != goModel.Budget || len(graph.Answers) != 3 {
		t.Fatalf("%+v", graph)
	}
	for i, a := range graph.Answers {
		if want := goModel.Answers[i]; a.Text != want.Text || math.Abs(a.NLL-want.NLL) > 1e-3 {
			t.Errorf("answer %d is %q with a loss of %g, want %q with %g", i, a.Text, a.NLL, want.Text, want.NLL)
		}
	}
	write(t, j.Config.Data.String(), `{"text": "A text without questions."}`+"\n")
	if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "holds plain texts, which graphs are not scored on") {
		t.Errorf("plain texts: %v", err)
	}
}
