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
	"syscall"

	"github.com/urfave/cli/v2"

	"eisft/internal/mapped"
	"eisft/internal/progress"
)

// Exit codes beside 0. An interrupt has the one that shells give it.
const (
	exitError       = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // the default action is back: a second signal ends the program at once
		progress.Println(os.Stderr, "eisft: stopping; press Ctrl-C again to exit at once")
	})
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp()
	app.Reader, app.Writer, app.ErrWriter = stdin, stdout, stderr
	err := runApp(ctx, app, args)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("stopped") // what was at work when the key was pressed says nothing
	}
	fmt.Fprintf(stderr, "eisft: %v\n", err)
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
	return app.RunContext(ctx, args)
}
