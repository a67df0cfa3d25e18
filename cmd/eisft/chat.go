package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"eisft/internal/errtext"
	"eisft/internal/utf8text"
	"eisft/model/chat"
)

func chatCommand() *cli.Command {
	return &cli.Command{
		Name:  "chat",
		Usage: "talk with a model that keeps its state over the turns",
		Description: `Reads a line, answers it and goes on, for as long as you like: the state does not
grow. A text that was read by eisft generate is opened with --state. A base that
has no chat template continues the lines as they are.

   /save FILE  saves the state, for --state
   /quit       ends, as does the end of the input`,
		Flags:  sessionFlags(512),
		Action: talk,
	}
}

func talk(c *cli.Context) error {
	reading := readingLine{w: c.App.ErrWriter}
	defer reading.end()
	options, err := answerOptions(c, 1, &reading)
	if err != nil {
		return err
	}
	session, err := openSession(c, false)
	if err != nil {
		return err
	}
	lines := readLines(c.Context, c.App.Reader)
	for {
		if isTerminal(c.App.Reader) {
			fmt.Fprint(c.App.ErrWriter, "> ")
		}
		var line string
		var more bool
		select {
		case <-c.Context.Done():
			return c.Context.Err()
		case line, more = <-lines:
		}
		if !more || line == "/quit" {
			return nil
		}
		if line == "" {
			continue
		}
		if err := turn(c, session, line, options); err != nil {
			return err
		}
	}
}

// turn carries out one line: a command, or a question to be answered.
func turn(c *cli.Context, session *chat.Session, line string, options chat.AnswerOptions) error {
	if err := utf8text.Check(line); err != nil { // the conversation is not lost for that
		fmt.Fprintf(c.App.ErrWriter, "the question is not read: %v\n", err)
		return nil
	}
	if !strings.HasPrefix(line, "/") {
		if err := session.Check(line); err != nil {
			fmt.Fprintf(c.App.ErrWriter, "the question is not read: %v\n", err)
			return nil
		}
		return answer(c, session, line, options)
	}
	name, file, _ := strings.Cut(line, " ")
	file = strings.TrimSpace(file)
	if name != "/save" || file == "" {
		fmt.Fprintf(c.App.ErrWriter, "unknown command %q; there are /save FILE and /quit\n", line)
		return nil
	}
	if err := saveSession(c, session, file); err != nil { // the conversation is not lost for that
		fmt.Fprintln(c.App.ErrWriter, errtext.Of(err))
	}
	return nil
}

// readLines gives the lines of r, without space around them. It reads in a
// goroutine of its own since waiting for a terminal cannot be cancelled.
func readLines(ctx context.Context, r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(r); ; {
			line, err := in.ReadString('\n')
			if err == nil || line != "" {
				select {
				case lines <- strings.TrimSpace(line):
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
