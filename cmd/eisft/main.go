// Command eisft turns a frozen language model into one that reads very long
// input in constant memory: it trains a small EdgeInfinite block, quantizes the
// result and exports it as fixed-shape ONNX graphs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"eisft/internal/errtext"
	"eisft/internal/mapped"
	"eisft/internal/mpi"
	"eisft/internal/progress"
)

// Exit codes beside 0. An interrupt has the one that shells give it.
const (
	exitError       = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	os.Exit(run(untilSignal(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// untilSignal returns a context that ends with Ctrl-C or SIGTERM; its cause says which.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		by := "Ctrl-C"
		if s := <-signals; s != os.Interrupt {
			by = "SIGTERM"
		}
		signal.Stop(signals) // the default action is back: a second signal ends the program at once
		if mpi.First() {     // for all ranks
			progress.Println(os.Stderr, "eisft: stopping; press Ctrl-C again to exit at once")
		}
		cancel(errors.New("stopped by " + by))
	}()
	return ctx
}

// wait carries out what may wait for ever for somebody else, such as reading a pipe, and
// cannot be cancelled. When ctx ends it is left behind: the process ends, too.
func wait[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		found T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		found, err := do()
		done <- result{found, err}
	}()
	select {
	case r := <-done:
		return r.found, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp()
	app.Reader, app.Writer, app.ErrWriter = stdin, stdout, stderr
	err := runApp(ctx, app, args)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && strings.Contains(err.Error(), context.Canceled.Error()) {
		err = context.Cause(ctx) // what was at work when the key was pressed says nothing
	}
	fmt.Fprintf(stderr, "eisft: %s\n", errtext.Of(err))
	var usage *usageError
	var noHelp cli.ExitCoder // of the help command, for a topic that does not exist
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", usage.command)
		return exitUsage
	case errors.As(err, &noHelp):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	default:
		return exitError
	}
}

// runApp runs a command; a mapped file that cannot be read any more is its error.
func runApp(ctx context.Context, app *cli.App, args []string) (err error) {
	defer mapped.Recover(func(e *mapped.Error) { err = e })
	defer mapped.Watch()()
	return app.RunContext(ctx, flagsFirst(app.Commands, args))
}
