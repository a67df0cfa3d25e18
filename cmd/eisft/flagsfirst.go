package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the flags of a command line in front of its arguments, where the library
// wants them: eisft inspect PATH --json is eisft inspect --json PATH. What stands behind --
// are arguments, whatever they look like.
func flagsFirst(commands []*cli.Command, line []string) []string {
	head := min(1, len(line)) // the program's name, then those of command and subcommand
	var command *cli.Command
	for head < len(line) {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(line[head]) })
		if i < 0 {
			break
		}
		command, commands = commands[i], commands[i].Subcommands
		head++
	}
	if command == nil || line[len(line)-1] == completionFlag {
		return line
	}
	var flags, args []string
	for rest := line[head:]; len(rest) > 0; rest = rest[1:] {
		arg := rest[0]
		if arg == "--" {
			args = append(args, rest[1:]...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			args = append(args, arg)
			continue
		}
		if name := strings.TrimLeft(arg, "-"); slices.Contains(cli.HelpFlag.Names(), name) {
			return append(slices.Clone(line[:head]), arg) // with arguments it would be about these
		}
		flags = append(flags, arg)
		if takesNext(command, arg) && len(rest) > 1 {
			rest = rest[1:]
			flags = append(flags, rest[0])
		}
	}
	if len(args) > 0 {
		flags = append(flags, "--")
	}
	return slices.Concat(line[:head], flags, args)
}

// takesNext says of a flag as it is written whether its value is the next word.
func takesNext(c *cli.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			d, ok := f.(cli.DocGenerationFlag)
			return ok && d.TakesValue()
		}
	}
	return false
}
