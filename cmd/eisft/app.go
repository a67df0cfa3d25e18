package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/internal/bytesize"
	"eisft/internal/nearest"
	"eisft/model"
)

// usageError is a command line that cannot be understood.
type usageError struct {
	command string // whose help explains it, e.g. "eisft train"
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// usagef returns a usageError about the command that c runs.
func usagef(c *cli.Context, format string, args ...any) error {
	return &usageError{command: c.Command.HelpName, err: fmt.Errorf(format, args...)}
}

const description = `eisft turns a frozen Hugging Face language model into one that reads very long
input in constant memory, for a phone's NPU: it trains a small module beside each
attention layer, quantizes the result and exports it as fixed-shape ONNX graphs.

With a model folder and a file of rows of your own, begin with

   eisft config init --model DIR --data FILE mine.yaml
   eisft data preview --config mine.yaml
   eisft train --config mine.yaml
   eisft generate --prompt-file book.txt

Commands behind train take the newest run, runs/latest, unless --run names another.
eisft COMMAND --help explains a command.`

func newApp() *cli.App {
	return &cli.App{
		Name:         "eisft",
		Usage:        "long input for frozen language models on edge devices",
		UsageText:    "eisft COMMAND [options]",
		Description:  description,
		Version:      version(),
		Commands:     verbs(),
		Action:       noCommand,
		OnUsageError: badFlag,
		// Behind eisft completion, whose scripts ask by a hidden flag what may come next.
		EnableBashCompletion: true,
		ExitErrHandler:       func(*cli.Context, error) {}, // run prints and chooses the exit code
	}
}

// verbs lists the commands in the order in which a newcomer needs them.
func verbs() []*cli.Command {
	commands := []*cli.Command{
		trainCommand(),
		quantizeCommand(),
		exportCommand(),
		evalCommand(),
		generateCommand(),
		chatCommand(),
		checkCommand(),
		runCommand(),
		benchCommand(),
		planCommand(),
		inspectCommand(),
		runsCommand(),
		adapterCommand(),
		reportCommand(),
		dataCommand(),
		configCommand(),
		envCommand(),
		versionCommand(),
		completionCommand(),
	}
	for _, c := range commands {
		finish(c)
		for _, sub := range c.Subcommands {
			finish(sub)
		}
	}
	return commands
}

// finish gives a command what all have.
func finish(c *cli.Command) {
	c.OnUsageError = badFlag
	if len(c.Subcommands) > 0 {
		return
	}
	c.Flags = append(c.Flags, profileFlags()...)
	c.Action = ranked(profiled(checkedArgs(roomy(c.Action))))
}

// fewAddresses is how many bytes of addresses are so few that a command may end for want of them: Go reserves some,
// each thread has a stack of its own, and models are mapped, whatever of all that is in memory.
const fewAddresses = 4 << 30

// roomy warns where the process may map little.
func roomy(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if n := model.AddressSpace(); n < fewAddresses {
			warn(c, fmt.Sprintf("ulimit -v allows %s of addresses, more of which are reserved than memory is used: if this ends with \"out of memory\" or \"cannot allocate memory\", raise it to %d or more, and bound memory by a control group instead (systemd-run -p MemoryMax=…)",
				bytesize.Megabytes(n), fewAddresses/1024))
		}
		return action(c)
	}
}

// noCommand runs where the first argument is no command.
func noCommand(c *cli.Context) error {
	commands := c.App.Commands
	if len(c.Command.Subcommands) > 0 {
		commands = c.Command.Subcommands
	}
	if !c.Args().Present() {
		return cli.ShowSubcommandHelp(c)
	}
	name := c.Args().First()
	suggestion := cli.SuggestCommand(commands, name)
	if strings.Contains(suggestion, `""`) { // nothing is like it
		return usagef(c, "unknown command %q", name)
	}
	return usagef(c, "unknown command %q. %s", name, suggestion)
}

// badFlag words the flag package's errors and names the flag that was meant.
func badFlag(c *cli.Context, err error, _ bool) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return usagef(c, "%w", err)
	}
	name = strings.TrimLeft(name, "-")
	known := []string{"help"}
	for _, f := range c.Command.Flags {
		known = append(known, f.Names()...)
	}
	if near := nearest.Name(name, known); near != "" {
		return usagef(c, "unknown flag --%s; did you mean --%s?", name, near)
	}
	return usagef(c, "unknown flag --%s", name)
}

// checkedArgs refuses arguments that a command has no use for.
func checkedArgs(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() && c.Command.ArgsUsage == "" {
			return usagef(c, "unexpected argument %q", c.Args().First())
		}
		return action(c)
	}
}

// required returns the value of a flag that the command cannot do without. (The
// library's own check would print the whole help before the error.)
func required(c *cli.Context, flag string) (string, error) {
	if v := c.String(flag); v != "" {
		return v, nil
	}
	return "", usagef(c, "--%s is required", flag)
}

// version is the module's version as Go stamps it from the tag or commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
