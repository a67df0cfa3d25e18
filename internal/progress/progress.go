// Package progress shows how far a long task is: on a terminal as one line that
// rewrites itself, elsewhere (a file, a pipe, a CI log) as a line every half minute.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// Task says what is counted.
type Task struct {
	What  string // e.g. "s-sft"
	Unit  string // what is counted, e.g. "steps"
	Total int    // how many there are; 0 if that is not known
	From  int    // how many were done before this start, by a run that is resumed
	Words string // explain the figures; they are said once
}

// Line is the progress line of one task. Its methods may be called from several
// goroutines; on a nil Line they do nothing, so that a caller who wants no
// progress passes nil.
type Line struct {
	screen  *mpb.Progress
	bar     *mpb.Bar // counts from 0 at this start: rate and time left are this start's
	figures atomic.Pointer[string]

	task    Task
	w       io.Writer
	started time.Time
	done    atomic.Int64  // since this start
	ended   chan struct{} // where there is no terminal: closed at the end
	once    sync.Once
	logs    sync.WaitGroup
}

// shown is the line that stands on the terminal, nil for none.
var shown atomic.Pointer[Line]

// Start begins a task and shows its line on w, which is usually os.Stderr; where w is no
// terminal, a line is written to it from time to time. Where w is nil there is no line, and
// Start returns nil.
func Start(w io.Writer, t Task) *Line {
	if w == nil || w == io.Discard {
		return nil
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return log(w, t)
	}
	explain(w, t)
	screen := cupwriter.New(fromFirstColumn{f}, false)
	screen.SetTermFd(int(f.Fd()))
	l := start(t, mpb.WithConsoleWriter(screen))
	l.w = w
	return l
}

// Every is how often a line is written where there is no terminal.
const Every = 30 * time.Second

// log writes a line from time to time, where something has been done since the last one.
func log(w io.Writer, t Task) *Line {
	l := &Line{task: t, w: w, started: time.Now(), ended: make(chan struct{})}
	l.logs.Go(func() {
		ticker := time.NewTicker(Every)
		defer ticker.Stop()
		for last := int64(0); ; {
			select {
			case <-l.ended:
				return
			case <-ticker.C:
				if done := l.done.Load(); done != last {
					explain(w, t)
					fmt.Fprintln(w, l.now())
					last = done
				}
			}
		}
	})
	return l
}

// now is the line as it is written where there is no terminal.
func (l *Line) now() string {
	done, took := int(l.done.Load()), time.Since(l.started)
	text := fmt.Sprintf("%s: %s", l.task.What, l.task.count(done))
	if left := l.task.Total - l.task.From - done; l.task.Total > 0 && done > 0 {
		text += fmt.Sprintf(", %s left", (took * time.Duration(left) / time.Duration(done)).Round(time.Second))
	}
	text += fmt.Sprintf(", %.2f %s/s", float64(done)/took.Seconds(), l.task.Unit)
	if f := l.figures.Load(); f != nil {
		text += ", " + *f
	}
	return text
}

// explained are the words that have been said.
var explained sync.Map

func explain(w io.Writer, t Task) {
	if _, said := explained.LoadOrStore(t.Words, true); t.Words != "" && !said {
		fmt.Fprintln(w, t.Words)
	}
}

// fromFirstColumn begins every redraw in the first column. A terminal shows keys that are
// pressed at the cursor, as ^C; without this, as many columns of the line would stay.
type fromFirstColumn struct{ io.Writer }

func (w fromFirstColumn) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(append([]byte{'\r'}, p...))
	return max(n-1, 0), err
}

// Println writes a message to w, above the line that is shown: below it, the next redraw
// would erase the message.
func Println(w io.Writer, message string) {
	if l := shown.Load(); l != nil {
		if _, err := l.screen.Write([]byte(message + "\n")); err == nil {
			return
		}
	}
	fmt.Fprintln(w, message)
}

// start shows what matters most first: a narrow terminal cuts the line's end. Rate and
// time left are means since the start: tasks are uniform, and a mean keeps them from
// jumping. Before the first unit is done they would be wrong and are left out.
func start(t Task, screen ...mpb.ContainerOption) *Line {
	l := &Line{screen: mpb.New(screen...), task: t, started: time.Now()}
	left, rate := decor.AverageETA(decor.ET_STYLE_GO), decor.AverageSpeed(0, "%.2f")
	begun := func(format string, d decor.Decorator) decor.Decorator {
		return decor.Any(func(s decor.Statistics) string {
			if s.Current == 0 {
				return ""
			}
			text, _ := d.Decor(s)
			return fmt.Sprintf(format, text)
		})
	}
	parts := []decor.Decorator{
		decor.Name(t.What),
		decor.OnCondition(begun("  %s left", left), t.Total > 0),
		decor.Any(func(s decor.Statistics) string { return "  " + t.count(int(s.Current)) }),
		begun("  %s "+t.Unit+"/s", rate),
		decor.Any(func(decor.Statistics) string {
			if f := l.figures.Load(); f != nil {
				return "  " + *f
			}
			return ""
		}),
	}
	l.bar = l.screen.New(int64(t.Total-t.From), mpb.NopStyle(),
		mpb.PrependDecorators(parts...), mpb.BarFillerTrim(), mpb.BarRemoveOnComplete())
	shown.Store(l)
	return l
}

// count says how many are done, of which some since this start.
func (t Task) count(since int) string {
	if t.Total == 0 {
		return fmt.Sprintf("%d %s", t.From+since, t.Unit)
	}
	return fmt.Sprintf("%d/%d %s", t.From+since, t.Total, t.Unit)
}

// Add counts n more units as done.
func (l *Line) Add(n int) {
	if l == nil {
		return
	}
	l.done.Add(int64(n))
	if l.bar != nil {
		l.bar.IncrBy(n)
	}
}

// Figures sets the extra figures shown at the end of the line, e.g. "loss 1.234".
// They appear with the next redraw.
func (l *Line) Figures(format string, args ...any) {
	if l != nil {
		f := fmt.Sprintf(format, args...)
		l.figures.Store(&f)
	}
}

// End clears the line. Later calls of the methods show nothing, so that it can be deferred.
func (l *Line) End() {
	if l == nil {
		return
	}
	l.once.Do(func() {
		if l.bar != nil {
			l.bar.Abort(true)
			l.screen.Wait()
			return
		}
		close(l.ended)
		l.logs.Wait()
	})
}

// Finish ends the line of a task that is done, and leaves what it has come to.
func (l *Line) Finish() {
	if l == nil {
		return
	}
	l.End()
	text := fmt.Sprintf("%s: %s in %s", l.task.What, l.task.count(int(l.done.Load())), roughly(time.Since(l.started)))
	if f := l.figures.Load(); f != nil {
		text += ", " + *f
	}
	fmt.Fprintln(l.w, text)
}

// roughly is a time in as many digits as are of use.
func roughly(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
