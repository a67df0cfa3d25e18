package progress

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
)

// screen is what a terminal was sent.
type screen struct {
	mu   sync.Mutex
	sent bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent.Write(p)
}

// redraw stands in front of every line but the first: from the first column, where a key
// that was pressed may have moved the cursor away from, one line up, and erase.
const redraw = "\r\x1b[1A\x1b[J"

// shows returns what stands on the terminal.
func (s *screen) shows() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Split(s.sent.String(), redraw)
	return strings.TrimPrefix(all[len(all)-1], "\r")
}

// on runs a test of the line of t on a terminal of so many columns, with a clock of its own.
func on(t *testing.T, columns int, task Task, test func(s *screen, l *Line)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		var s screen
		l := start(task, mpb.WithConsoleWriter(cupwriter.New(fromFirstColumn{&s}, true)), mpb.WithAutoRefresh(), mpb.WithWidth(columns))
		defer l.End()
		test(&s, l)
	})
}

// refresh is a little more than what passes between two redraws.
const refresh = 200 * time.Millisecond

func TestLine(t *testing.T) {
	on(t, 100, Task{What: "s-sft", Unit: "steps", Total: 100}, func(s *screen, l *Line) {
		check := func(want string) {
			t.Helper()
			time.Sleep(refresh)
			if got := s.shows(); got != want {
				t.Errorf("the terminal shows %q, want %q", got, want)
			}
		}
		check("s-sft  0/100 steps\n")
		time.Sleep(2*time.Second - 3*refresh/2)
		l.Add(5)
		check("s-sft  37s left  5/100 steps  2.56 steps/s\n") // as of the redraw at 1.95 s
		l.Figures("loss %.3f", 1.5)
		time.Sleep(8 * time.Second)
		check("s-sft  3m13s left  5/100 steps  0.49 steps/s  loss 1.500\n")
		l.End()
		check("")
		l.Add(1)
		l.Figures("late")
		l.End()
		check("")
	})
}

// TestResumedLine counts on from where the run was stopped, at the rate of this start.
func TestResumedLine(t *testing.T) {
	on(t, 100, Task{What: "s-sft", Unit: "steps", Total: 1020, From: 1000}, func(s *screen, l *Line) {
		time.Sleep(10*time.Second - refresh)
		l.Add(10)
		time.Sleep(refresh)
		if got, want := s.shows(), "s-sft  9s left  1010/1020 steps  1.01 steps/s\n"; got != want {
			t.Errorf("the terminal shows %q, want %q", got, want)
		}
	})
}

func TestUnknownTotal(t *testing.T) {
	on(t, 100, Task{What: "read", Unit: "tokens", From: 1000}, func(s *screen, l *Line) {
		time.Sleep(10*time.Second - refresh)
		l.Add(54321)
		time.Sleep(refresh)
		if got, want := s.shows(), "read  55321 tokens  5486.97 tokens/s\n"; got != want {
			t.Errorf("the terminal shows %q, want %q", got, want)
		}
	})
}

// TestFinishedLine is cleared when everything is done, before End.
func TestFinishedLine(t *testing.T) {
	on(t, 100, Task{What: "x", Unit: "y", Total: 2}, func(s *screen, l *Line) {
		time.Sleep(refresh)
		l.Add(2)
		l.Add(1)
		time.Sleep(refresh)
		if got := s.shows(); got != "" {
			t.Errorf("the terminal shows %q after the end, want nothing", got)
		}
	})
}

// TestPrintln keeps a message that comes while a line is shown.
func TestPrintln(t *testing.T) {
	var w bytes.Buffer
	on(t, 100, Task{What: "x", Unit: "y"}, func(s *screen, l *Line) {
		time.Sleep(refresh)
		Println(&w, "stopping")
		time.Sleep(refresh)
		if got, want := s.shows(), "stopping\nx  0 y\n"; got != want {
			t.Errorf("the terminal shows %q, want %q", got, want)
		}
		Println(&w, "at the end")
		l.End()
		if got := s.sent.String(); strings.Count(got, "stopping\n") != 1 || strings.Count(got, "at the end\n") != 1 {
			t.Errorf("the terminal was sent %q, want each message once", got)
		}
		Println(&w, "afterwards")
	})
	if got := w.String(); got != "afterwards\n" {
		t.Errorf("written without a line: %q, want what came afterwards", got)
	}
}

// TestNarrowTerminal has one line that fits, with the time left on it.
func TestNarrowTerminal(t *testing.T) {
	for columns, want := range map[int]string{
		40: "répéter  9s left  1/10 étapes  0.95 éta…\n",
		20: "répéter  9s left  1…\n",
		17: "répéter  9s left…\n",
		1:  "…\n",
	} {
		on(t, columns, Task{What: "répéter", Unit: "étapes", Total: 10}, func(s *screen, l *Line) {
			time.Sleep(time.Second)
			l.Add(1)
			time.Sleep(refresh)
			if got := s.shows(); got != want {
				t.Errorf("%d columns: the terminal shows %q, want %q", columns, got, want)
			}
		})
	}
}

func TestLineFromMany(t *testing.T) {
	on(t, 80, Task{What: "x", Unit: "y", Total: 401}, func(s *screen, l *Line) {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range 100 {
					l.Add(1)
					l.Figures("worker %d", i)
				}
			})
		}
		wg.Wait()
		time.Sleep(refresh)
		if got := s.shows(); !strings.Contains(got, "400/401 y") {
			t.Errorf("the terminal shows %q, want 400 counted", got)
		}
	})
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestNoTerminal has a line every half minute in which something was done, with the figures
// explained once, and what the task has come to.
func TestNoTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w buffer
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := w.String(); got != want {
				t.Errorf("written: %q\nwant     %q", got, want)
			}
		}
		l := Start(&w, Task{What: "s-sft", Unit: "steps", Total: 110, From: 10, Words: "loss: what is lost"})
		time.Sleep(Every - time.Second)
		l.Add(5)
		l.Figures("loss %.3f", 1.5)
		check("")
		time.Sleep(time.Second)
		want := "loss: what is lost\ns-sft: 15/110 steps, 9m30s left, 0.17 steps/s, loss 1.500\n"
		check(want)
		time.Sleep(5 * Every)
		check(want)
		l.Add(1)
		time.Sleep(Every)
		want += "s-sft: 16/110 steps, 54m50s left, 0.03 steps/s, loss 1.500\n"
		check(want)
		l.Finish()
		want += "s-sft: 16/110 steps in 3m30s, loss 1.500\n"
		check(want)
		l.End()
		l.Add(1)
		time.Sleep(2 * Every)
		check(want)
		second := Start(&w, Task{What: "read", Unit: "tokens", Words: "loss: what is lost"})
		second.Add(3)
		time.Sleep(Every)
		second.End()
		check(want + "read: 3 tokens, 0.10 tokens/s\n")
	})
}

// TestFinish leaves the line of a task that is done, on a terminal too.
func TestFinish(t *testing.T) {
	on(t, 100, Task{What: "s-sft", Unit: "steps", Total: 4}, func(s *screen, l *Line) {
		l.w = s
		l.Add(2)
		l.Figures("loss 1.5")
		time.Sleep(2 * time.Second)
		l.Finish()
		if got, want := s.shows(), "s-sft: 2/4 steps in 2s, loss 1.5\n"; got != want {
			t.Errorf("the terminal shows %q, want %q", got, want)
		}
	})
}

// TestQuiet writes nothing where nobody looks.
func TestQuiet(t *testing.T) {
	for _, l := range []*Line{Start(nil, Task{What: "x"}), Start(io.Discard, Task{What: "x"})} {
		if l != nil {
			t.Error("there is a line, want none")
		}
		l.Add(1)
		l.Figures("z")
		l.Finish()
		l.End()
	}
}
