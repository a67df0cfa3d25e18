package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"eisft/internal/enum"
)

// completionFlag is what the scripts put behind a command line to ask what may come next.
const completionFlag = "--generate-bash-completion"

// completions write a shell's script. Where eisft has nothing to offer, shells offer files.
var completions = enum.NewTable[string, func(c *cli.Context) error]("shell").
	With("bash", script(`_eisft() {
  local cur="${COMP_WORDS[COMP_CWORD]}" line=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ "$cur" == -* ]] && line+=("$cur")
  COMPREPLY=($(compgen -W "$("${line[@]}" `+completionFlag+` 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _eisft eisft
`)).
	With("zsh", script(`#compdef eisft
_eisft() {
  local -a opts line
  line=("${(@)words[1,CURRENT-1]}")
  [[ "${words[CURRENT]}" == -* ]] && line+=("${words[CURRENT]}")
  opts=("${(@f)$("${line[@]}" `+completionFlag+` 2>/dev/null)}")
  if [[ -n "${opts[1]}" ]]; then compadd -a opts; else _files; fi
}
compdef _eisft eisft
`)).
	With("fish", func(c *cli.Context) error {
		text, err := c.App.ToFishCompletion()
		if err != nil {
			return err
		}
		_, err = io.WriteString(c.App.Writer, text)
		return err
	})

func script(text string) func(c *cli.Context) error {
	return func(c *cli.Context) error {
		_, err := io.WriteString(c.App.Writer, text)
		return err
	}
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes command lines in a shell",
		ArgsUsage: "SHELL",
		Description: `Prints the script for ` + enum.List(completions.Names()) + `. In the shell itself, or its startup file:

   source <(eisft completion bash)
   source <(eisft completion zsh)
   eisft completion fish | source`,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef(c, "name a shell: %s", enum.List(completions.Names()))
			}
			write, err := completions.Find(c.Args().First())
			if err != nil {
				return usagef(c, "%w", err)
			}
			return write(c)
		},
	}
}
