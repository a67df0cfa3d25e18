package progress

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that moves only when told.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newClock() *clock { return &clock{t: time.Unix(1000, 0)} }

func terminal(width int) func() int { return func() int { return width } }

// shown returns what a terminal would show after everything in b: complete
// lines, and the last line as it stands.
func shown(b string) []string {
	lines := strings.Split(b, "\n")
	for i, l := range lines {
		if at := strings.LastIndex(l, clearLine); at >= 0 {
			lines[i] = l[at+len(clearLine):]
		}
	}
	return lines
}

func TestLineOnTerminal(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	l := start(&out, Task{What: "s-sft", Unit: "steps", Total: 100}, terminal(100), c.now)
	check := func(want ...string) {
		t.Helper()
		got := shown(out.String())
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("terminal shows\n%q, want\n%q", got, want)
		}
	}
	check("s-sft  0/100 steps (0 %)")
	c.advance(2 * time.Second)
	l.Add(5)
	check("s-sft  5/100 steps (5 %)  2.5 steps/s  38s left")
	l.Figures("loss %.3f", 1.5)
	check("s-sft  5/100 steps (5 %)  2.5 steps/s  38s left") // too soon to redraw
	c.advance(8 * time.Second)
	l.Add(0)
	check("s-sft  5/100 steps (5 %)  loss 1.500  2 s/step  3m10s left")
	l.Printf("checkpoint written\n")
	check("checkpoint written", "s-sft  5/100 steps (5 %)  loss 1.500  2 s/step  3m10s left")
	l.End()
	check("checkpoint written", "")
	l.Add(1)
	l.End()
	l.Printf("late")
	check("checkpoint written", "late", "")
}

func TestLineResumedAndUnknownTotal(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	l := start(&out, Task{What: "read", Unit: "tokens", From: 1000}, terminal(100), c.now)
	c.advance(10 * time.Second)
	l.Add(54321)
	if got, want := shown(out.String())[0], "read  55321 tokens  5432 tokens/s"; got != want {
		t.Errorf("line is %q, want %q", got, want)
	}
}

func TestLineFitsTerminal(t *testing.T) {
	for _, width := range []int{1, 10, 24} {
		var out bytes.Buffer
		c := newClock()
		l := start(&out, Task{What: "répéter", Unit: "étapes", Total: 10}, terminal(width), c.now)
		c.advance(time.Second)
		l.Add(1)
		if got := []rune(shown(out.String())[0]); len(got) != width-1 {
			t.Errorf("width %d: line %q has %d columns", width, string(got), len(got))
		}
	}
}

func TestLineRedrawsRarely(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	l := start(&out, Task{What: "x", Unit: "y"}, terminal(80), c.now)
	for range 1000 {
		c.advance(time.Millisecond)
		l.Add(1)
	}
	if n := strings.Count(out.String(), clearLine); n != 11 {
		t.Errorf("%d draws in one second, want 11", n)
	}
}

func TestLineWithoutTerminal(t *testing.T) {
	for _, tc := range []struct {
		name    string
		verbose bool
		want    string
	}{
		{"quiet", false, ""},
		{"verbose", true, "s-sft: 3/10 steps\ns-sft: 10/10 steps in 1m05s, loss 0.5\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			c := newClock()
			l := start(&out, Task{What: "s-sft", Unit: "steps", Total: 10, From: 3, Verbose: tc.verbose}, terminal(0), c.now)
			for range 7 {
				c.advance(65 * time.Second / 7)
				l.Add(1)
			}
			l.Figures("loss 0.5")
			l.End()
			if out.String() != tc.want {
				t.Errorf("wrote %q, want %q", out.String(), tc.want)
			}
		})
	}
}

func TestStartIsQuietOnFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := Start(f, Task{What: "x", Unit: "y", Total: 1})
	l.Add(1)
	l.End()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("wrote %d bytes to a file (%v), want none", info.Size(), err)
	}
}

func TestStartOnNothing(_ *testing.T) {
	l := Start(nil, Task{What: "x", Unit: "y", Verbose: true})
	l.Add(1)
	l.Figures("x")
	l.Printf("x")
	l.End()
}

func TestLineFromManyGoroutines(t *testing.T) {
	var out bytes.Buffer
	l := start(&out, Task{What: "x", Unit: "y", Total: 400}, terminal(80), time.Now)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 100 {
				l.Add(1)
				l.Figures("worker %d", i)
			}
			l.Printf("worker %d ends", i)
		})
	}
	wg.Wait()
	l.End()
	if l.done != 400 {
		t.Errorf("counted %d, want 400", l.done)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                        "0s",
		59400 * time.Millisecond: "59s",
		59600 * time.Millisecond: "1m00s",
		185 * time.Second:        "3m05s",
		2*time.Hour + 7*time.Minute + 59*time.Second: "2h07m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%v) = %q, want %q", d, got, want)
		}
	}
}
