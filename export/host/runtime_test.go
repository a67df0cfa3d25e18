package host

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"eisft/docs"
	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/schedule"
	"eisft/quant/encoding"
)

// The examples of docs/runtime.md are computed anew.

// row is a row of a table: its cells by the column's name.
type row map[string]string

func (r row) int(t *testing.T, column string) int {
	t.Helper()
	n, err := strconv.Atoi(r[column])
	if err != nil {
		t.Fatalf("column %q: %v", column, err)
	}
	return n
}

func (r row) float(t *testing.T, column string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(r[column], 64)
	if err != nil {
		t.Fatalf("column %q: %v", column, err)
	}
	return x
}

// rowsOf reads the table that a comment of the document names.
func rowsOf(t *testing.T, name string) []row {
	t.Helper()
	_, rest, ok := strings.Cut(string(docs.Runtime), "<!-- table: "+name+" -->\n")
	if !ok {
		t.Fatalf("runtime.md has no table %q", name)
	}
	var head []string
	var rows []row
	for i, line := range strings.Split(rest, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		switch {
		case i == 0:
			head = cells
		case i > 1:
			r := row{}
			for j, c := range cells {
				r[head[j]] = strings.TrimSpace(c)
			}
			rows = append(rows, r)
		}
	}
	if len(rows) < 3 {
		t.Fatalf("runtime.md: table %q has %d rows", name, len(rows))
	}
	return rows
}

// same compares what a row says with what is computed, by column.
func same(t *testing.T, table string, i int, r row, want map[string]any) {
	t.Helper()
	for column, v := range want {
		if got := r[column]; got != fmt.Sprint(v) {
			t.Errorf("runtime.md, table %q, row %d (%v): %s is %s, want %v", table, i+1, r, column, got, v)
		}
	}
}

// example is the layer of the document's examples.
var example = schedule.Plan{Layers: []schedule.Sizes{{Sink: 2, Slots: 3, Window: 4, Segment: 5}}, Routing: true}

func TestRuntimeCounts(t *testing.T) {
	for i, r := range rowsOf(t, "counts") {
		p := example.Parts(0, r.int(t, "n"), r.int(t, "c"))
		same(t, "counts", i, r, map[string]any{
			"sinks": p.Sinks, "window": p.Window, "left": p.Left, "slots": p.Slots, "recent": p.Recent, "stored": p.Stored(), "dropped": p.Left - p.Slots,
		})
	}
}

func TestRuntimeCalls(t *testing.T) {
	s, left := schedule.New(example), 0
	commits := func() (n int) {
		for ; s.Due(); n++ {
			s.Commit()
		}
		return n
	}
	for i, r := range rowsOf(t, "calls") {
		if left == 0 {
			left = r.int(t, "call")
			s.Begin(left)
		}
		n := s.Next()
		held := map[bool]string{true: "yes", false: "no"}[s.Held()]
		before := commits()
		padding, place := example.Segment()-n, s.Position(0)
		if n == 1 {
			padding = 0
		}
		s.Advance(n)
		after := commits()
		left -= n
		same(t, "calls", i, r, map[string]any{
			"stretch": n, "held": held, "commits before": before, "padding": padding, "first place": place, "commits after": after,
			"n": s.Seen(), "c": s.Seen() - s.Parts(0).Recent,
		})
	}
	if left != 0 {
		t.Errorf("runtime.md, table \"calls\": the last call has %d more tokens", left)
	}
}

func TestRuntimeCodes(t *testing.T) {
	for i, r := range rowsOf(t, "codes") {
		dtype, err := ir.ParseDType(r["dtype"])
		if err != nil {
			t.Fatal(err)
		}
		e := encoding.Signed(16, float32(r.float(t, "scale")))
		e.Unsigned, e.Zeros = strings.HasPrefix(dtype.String(), "u"), []int32{int32(r.int(t, "zero_point"))}
		if strings.HasSuffix(dtype.String(), "8") {
			e.Bits = 8
		}
		same(t, "codes", i, r, map[string]any{"code": e.Code(float32(r.float(t, "number")), 0)})
	}
}

// TestRuntimeMask draws the masks that the host fills: four tokens stored, two new ones of
// three.
func TestRuntimeMask(t *testing.T) {
	const cache, tokens, stored = 6, 3, 4
	const hidden, open, memory = -1, 0, 7
	for i, r := range rowsOf(t, "mask") {
		sizes := schedule.Sizes{Window: 1, Segment: 5}
		st := &Stream{model: &Model{mask: hidden}, sequence: schedule.New(schedule.Plan{Layers: []schedule.Sizes{sizes}, Routing: true})}
		st.sequence.Begin(stored)
		st.sequence.Advance(stored)
		mask := make([]float32, tokens*(cache+tokens+1))
		st.fillMask(mask, kind{manifest.Kind{Layers: []int{0}, Window: r.int(t, "window")}, sizes, false}, tokens, 1)
		text := ""
		for _, v := range mask[r.int(t, "row")*(cache+tokens+1):][:cache+tokens] {
			text += map[float32]string{hidden: "0", open: "1"}[v]
		}
		same(t, "mask", i, r, map[string]any{"cache": text[:cache], "new": text[cache:], "memory": "M"})
	}
}

// TestRuntimeColumn: the texts that have that many tokens beyond the window, with as many in
// the memory.
func TestRuntimeColumn(t *testing.T) {
	for i, r := range rowsOf(t, "column") {
		left, written := r.int(t, "left"), r.int(t, "N")
		plan := schedule.Plan{Layers: []schedule.Sizes{{Slots: left - written, Segment: 1}}}
		st := &Stream{model: &Model{mask: -5, empty: 1000, logTerm: r["memory_column"] == manifest.ColumnLogTokens}, sequence: schedule.New(plan), writer: &writer{}}
		for range left {
			st.sequence.Begin(1)
			st.sequence.Advance(1)
			st.sequence.Commit()
		}
		want := strconv.FormatFloat(float64(st.memoryColumn()), 'f', 4, 64)
		switch {
		case st.memoryColumn() == -5:
			want = "mask"
		case st.memoryColumn() == 0:
			want = "0"
		}
		same(t, "column", i, r, map[string]any{"column": want})
	}
}

// TestRuntimeChoice: ranks, the choice and what lies where after it.
func TestRuntimeChoice(t *testing.T) {
	const read, segments = 15, 2
	s := schedule.New(example)
	for range segments {
		s.Begin(12) // not a short prompt
		s.Advance(5)
		s.Commit()
	}
	s.Advance(5)
	turnover := s.Commit()[0]
	rows := rowsOf(t, "choice")
	if turnover.First != rows[0].int(t, "place") || turnover.Candidates != len(rows) || turnover.Stay != 3 || s.Seen() != read {
		t.Fatalf("the commit is %+v of %d tokens", turnover, s.Seen())
	}
	rank := func(place int) int {
		return model.Rank(float32(rows[place-turnover.First].float(t, "score")))
	}
	kept, dropped := turnover.Choose(make([]int, turnover.Candidates), rank)
	for i, r := range rows {
		place := turnover.First + i
		same(t, "choice", i, r, map[string]any{
			"place": place, "rank": rank(place), "stays": map[bool]string{true: "yes", false: "no"}[slices.Contains(kept, place)],
		})
	}
	tokens := []string{"0", "1"}
	for _, place := range kept {
		tokens = append(tokens, rows[place-turnover.First]["token"])
	}
	for token := turnover.First + turnover.Candidates + 1; token < read; token++ { // one token is no longer stored
		tokens = append(tokens, strconv.Itoa(token))
	}
	if want := "<!-- list: moved -->\n" + strings.Join(tokens, " ") + "\n"; !strings.Contains(string(docs.Runtime), want) {
		t.Errorf("runtime.md lacks %q", want)
	}
	testWeights(t, rows, turnover, dropped)
}

// TestRuntimeDecay: ranks and weights where retention decays.
func TestRuntimeDecay(t *testing.T) {
	for i, r := range rowsOf(t, "decay") {
		score, age := float32(r.float(t, "score")), r.int(t, "age")
		_, _, rest := model.Kept(score, age)
		same(t, "decay", i, r, map[string]any{"rank": model.RankAt(score, age), "weight": strconv.FormatFloat(float64(rest)/6, 'f', 6, 64)})
	}
}

// testWeights: what the commit graph gets for the dropped ones.
func testWeights(t *testing.T, chosen []row, turnover schedule.Turnover, dropped []int) {
	t.Helper()
	weights := rowsOf(t, "weights")
	if len(weights) != len(dropped) || turnover.Written != len(dropped) {
		t.Fatalf("%d tokens are dropped, the table has %d", len(dropped), len(weights))
	}
	for i, place := range dropped {
		from := chosen[place-turnover.First]
		weight := float64(kernels.Sigmoid1(-float32(from.float(t, "score")))) / 6
		same(t, "weights", i, weights[i], map[string]any{
			"place": i, "token": from["token"], "score": from["score"], "weight": strconv.FormatFloat(weight, 'f', 4, 64),
		})
	}
	if want := fmt.Sprintf("decay is %.4f", 1.0/6); !strings.Contains(string(docs.Runtime), want) || math.Abs(1.0/6-0.1667) > 1e-4 {
		t.Errorf("runtime.md lacks %q", want)
	}
}
