// Package progress shows how far a long task is: on a terminal as one line that
// rewrites itself, elsewhere (a file, a pipe, a CI log) not at all, or on request
// with one line at the start and one at the end.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// redrawEvery keeps the cost of drawing, and the flicker, far below what is shown.
const redrawEvery = 100 * time.Millisecond

// clearLine returns the cursor to the first column and erases to the line's end.
const clearLine = "\r\x1b[K"

// Task says what is counted.
type Task struct {
	What    string // e.g. "s-sft"
	Unit    string // what is counted, e.g. "steps"
	Total   int    // how many there are; 0 if that is not known
	From    int    // how many were done before this start, by a run that is resumed
	Verbose bool   // write a line at the start and at the end where w is no terminal
}

// Line is the progress line of one task. Its methods may be called from several
// goroutines; on a nil Line they do nothing, so that a caller who wants no
// progress passes nil.
type Line struct {
	task    Task
	w       io.Writer
	columns func() int // width of the terminal; 0 where w is none
	now     func() time.Time

	mu      sync.Mutex
	done    int
	figures string
	started time.Time
	drawn   time.Time // when the line was drawn last
	visible bool      // a line stands on the terminal
	ended   bool
}

// Start begins a task and shows its line on w, which is usually os.Stderr; nil
// shows nothing.
func Start(w io.Writer, t Task) *Line {
	if w == nil {
		return nil
	}
	return start(w, t, func() int { return columns(w) }, time.Now)
}

func start(w io.Writer, t Task, columns func() int, now func() time.Time) *Line {
	l := &Line{task: t, w: w, columns: columns, now: now, done: t.From, started: now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.columns() > 0 {
		l.draw()
	} else if t.Verbose {
		fmt.Fprintf(w, "%s: %s\n", t.What, l.count())
	}
	return l
}

// columns returns the width of the terminal behind w, or 0 where there is none.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// Add counts n more units as done.
func (l *Line) Add(n int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += n
	l.redraw()
}

// Figures sets the extra figures shown behind the count, e.g. "loss 1.234".
// They appear with the next redraw.
func (l *Line) Figures(format string, args ...any) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.figures = fmt.Sprintf(format, args...)
	l.redraw()
}

// Printf writes lines that stay, above the progress line.
func (l *Line) Printf(format string, args ...any) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
	fmt.Fprintln(l.w, strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"))
	if !l.ended && l.columns() > 0 {
		l.draw()
	}
}

// End clears the line. Later calls of the methods show nothing, so that it can be deferred.
func (l *Line) End() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	l.clear()
	if l.task.Verbose && l.columns() == 0 {
		fmt.Fprintln(l.w, l.summary())
	}
}

// redraw draws the line if it is not too soon after the last time.
func (l *Line) redraw() {
	if l.ended || l.now().Sub(l.drawn) < redrawEvery || l.columns() == 0 {
		return
	}
	l.draw()
}

func (l *Line) draw() {
	text := []rune(l.text())
	// The last column stays free: a terminal wraps when it is filled.
	if limit := max(l.columns()-1, 0); len(text) > limit {
		text = text[:limit]
	}
	fmt.Fprint(l.w, clearLine, string(text))
	l.drawn, l.visible = l.now(), true
}

func (l *Line) clear() {
	if l.visible {
		fmt.Fprint(l.w, clearLine)
		l.visible = false
	}
}

// text is the line: what, how far, extra figures, rate, time left.
func (l *Line) text() string {
	parts := []string{l.task.What, l.count()}
	if l.task.Total > 0 {
		parts[1] += fmt.Sprintf(" (%d %%)", 100*l.done/l.task.Total)
	}
	if l.figures != "" {
		parts = append(parts, l.figures)
	}
	rate := l.rate()
	if rate > 0 {
		parts = append(parts, formatRate(rate, l.task.Unit))
		if left := l.task.Total - l.done; left > 0 {
			parts = append(parts, formatDuration(time.Duration(float64(left)/rate*float64(time.Second)))+" left")
		}
	}
	return strings.Join(parts, "  ")
}

// summary is the line that is left of a finished task in a log.
func (l *Line) summary() string {
	s := fmt.Sprintf("%s: %s in %s", l.task.What, l.count(), formatDuration(l.now().Sub(l.started)))
	if l.figures != "" {
		s += ", " + l.figures
	}
	return s
}

func (l *Line) count() string {
	if l.task.Total > 0 {
		return fmt.Sprintf("%d/%d %s", l.done, l.task.Total, l.task.Unit)
	}
	return fmt.Sprintf("%d %s", l.done, l.task.Unit)
}

// rate is the mean since the start in units a second: tasks are uniform, and a
// mean keeps the time left from jumping.
func (l *Line) rate() float64 {
	seconds := l.now().Sub(l.started).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(l.done-l.task.From) / seconds
}

// formatRate prefers numbers above one: "2.5 steps/s", but "4.0 s/step".
func formatRate(rate float64, unit string) string {
	if rate >= 100 {
		return fmt.Sprintf("%.0f %s/s", rate, unit)
	}
	if rate >= 1 {
		return fmt.Sprintf("%.3g %s/s", rate, unit)
	}
	return fmt.Sprintf("%.3g s/%s", 1/rate, strings.TrimSuffix(unit, "s"))
}

// formatDuration gives two figures: 4s, 3m05s, 2h07m.
func formatDuration(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	default:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
}
