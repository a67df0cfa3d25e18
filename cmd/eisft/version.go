package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print the version of the program, and how it was built",
		Action: printVersion,
	}
}

// printVersion prints what Go has written into the program.
func printVersion(c *cli.Context) error {
	fmt.Fprintf(c.App.Writer, "eisft %s, %s, %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  module\t%s %s\n", info.Main.Path, info.Main.Version)
	for _, s := range info.Settings {
		switch name, vcs := strings.CutPrefix(s.Key, "vcs."); {
		case s.Key == "vcs.modified":
			fmt.Fprintf(w, "  changed since the commit\t%s\n", yesNo(s.Value == "true"))
		case s.Key == "vcs.revision":
			fmt.Fprintf(w, "  commit\t%s\n", s.Value)
		case vcs:
			fmt.Fprintf(w, "  commit's %s\t%s\n", name, s.Value)
		case s.Value != "" && s.Key != "vcs" && s.Key != "-compiler": // build settings
			fmt.Fprintf(w, "  %s\t%s\n", s.Key, s.Value)
		}
	}
	return w.Flush()
}
