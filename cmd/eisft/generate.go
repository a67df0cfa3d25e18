package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/internal/utf8text"
	"eisft/model/chat"
)

func generateCommand() *cli.Command {
	return &cli.Command{
		Name:  "generate",
		Usage: "read a text of any length and write what follows",
		Description: `Reads a prompt into the model's constant-size state and writes the answer as it
comes. The prompt is a file, a text or both: the text then stands behind the file,
after a blank line. A long text is read once and asked many times like this:

   eisft generate --prompt-file book.txt --max-new-tokens 0 --save-state book.state
   eisft generate --state book.state --prompt "Question: Who is the captain?"`,
		Flags: append(
			append(sessionFlags(256), promptFlags()...),
			&cli.PathFlag{Name: "save-state", Usage: "save the state after the answer to `FILE`"},
		),
		Action: generate,
	}
}

// promptFlags say what is read.
func promptFlags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "prompt-file", Usage: "read the prompt from `FILE`; - is the standard input"},
		&cli.StringFlag{Name: "prompt", Usage: "read `TEXT`, behind the prompt file if there is one"},
		&cli.BoolFlag{Name: "chat", Usage: "put the prompt into the form of the base's chat template, if it has one; --chat=false continues it as it is", Value: true},
	}
}

func generate(c *cli.Context) error {
	reading := readingLine{w: c.App.ErrWriter}
	defer reading.end()
	options, err := answerOptions(c, 0, &reading)
	if err != nil {
		return err
	}
	save := c.Path("save-state")
	if save == "" && options.MaxNewTokens == 0 {
		return usagef(c, "--max-new-tokens 0 writes nothing; give --save-state FILE to keep what is read")
	}
	if save == "" && c.IsSet("save-state") {
		return usagef(c, "--save-state is empty; name a file")
	}
	if err := checkFile("save-state", save); err != nil {
		return err
	}
	prompt, err := readPrompt(c)
	if err != nil {
		return err
	}
	session, err := openSession(c, !c.Bool("chat"))
	if err != nil {
		return err
	}
	if options.MaxNewTokens == 0 {
		err = session.Read(c.Context, prompt, options.Progress)
	} else {
		err = answer(c, session, prompt, options)
	}
	if err != nil || save == "" {
		return err
	}
	return saveSession(c, session, save)
}

// saveSession saves a session, unless the command is ended meanwhile: a pipe without a reader takes nothing.
func saveSession(c *cli.Context, session *chat.Session, file string) error {
	_, err := wait(c.Context, func() (bool, error) { return true, session.Save(file) })
	return err
}

// maxPrompt bounds a prompt in bytes: all of it is in memory while it is tokenized, and to
// read more would take days.
const maxPrompt = 256 << 20

// readText reads a prompt.
func readText(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPrompt+1))
	if err == nil && len(text) > maxPrompt {
		err = fmt.Errorf("more than %d bytes, too many for a prompt; is it a text?", maxPrompt)
	}
	return text, err
}

// readPrompt joins the parts that promptFlags name.
func readPrompt(c *cli.Context) (string, error) {
	name, prompt := c.Path("prompt-file"), c.String("prompt")
	if name == "" {
		if prompt == "" {
			return "", usagef(c, "there is no prompt; give --prompt-file FILE, --prompt TEXT or both")
		}
		if err := utf8text.Check(prompt); err != nil {
			return "", fmt.Errorf("--prompt: %w", err)
		}
		return prompt, nil
	}
	text, err := wait(c.Context, func() ([]byte, error) {
		if name == "-" {
			return readText(c.App.Reader)
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		return readText(f)
	})
	if err != nil {
		return "", fmt.Errorf("--prompt-file: %w", err)
	}
	read := strings.TrimPrefix(string(text), utf8text.BOM)
	if err := utf8text.Check(read); err != nil {
		return "", fmt.Errorf("--prompt-file: %s: %w", name, err)
	}
	if prompt == "" {
		return read, nil
	}
	return strings.TrimRight(read, " \t\r\n") + "\n\n" + prompt, nil
}
