package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"eisft/internal/errtext"
	"eisft/internal/mpi"
	"eisft/internal/ranks"
)

// withRanks are the commands that the processes which a launcher has started carry out
// together.
var withRanks = []string{"train", "eval", "quantize"}

// onFirst are the commands of which the first process alone says what all would say.
var onFirst = []string{"env", "version"}

// ranked runs an action as one of the ranks that a launcher has started, if it has. Commands
// that know no ranks refuse to be one.
func ranked(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if slices.Contains(onFirst, c.Command.Name) {
			if !mpi.First() {
				return nil
			}
			return action(c)
		}
		launched, err := mpi.Launched()
		if err == nil && launched && !slices.Contains(withRanks, c.Command.Name) {
			err = usagef(c, "%s works as one process: leave the launcher (mpirun, srun) out", c.Command.HelpName)
		}
		switch {
		case err != nil && !mpi.First():
			return nil // the first one says it
		case err != nil:
			return err
		case launched:
			return asRank(c, action)
		}
		return action(c)
	}
}

// groupKey is where the application keeps the ranks.
const groupKey = "ranks"

// group returns the ranks of a command.
func group(c *cli.Context) ranks.Group {
	if w, ok := c.App.Metadata[groupKey].(*mpi.World); ok {
		return w
	}
	return ranks.Alone{}
}

// asRank runs an action as one of several ranks. What it says, and how it ends, is rank 0's
// to tell: the others write nothing and end well, unless rank 0 cannot know.
func asRank(c *cli.Context, action cli.ActionFunc) error {
	w, err := mpi.Start()
	if err != nil {
		return err
	}
	if err := w.ShareCores(); err != nil {
		return errors.Join(err, w.Close(true))
	}
	c.App.Metadata[groupKey] = w
	stderr := c.App.ErrWriter
	if w.Rank() > 0 {
		c.App.Writer, c.App.ErrWriter = io.Discard, io.Discard
	}
	err = action(c)
	var known *ranks.Error
	if errors.As(err, &known) && known.Lost {
		fmt.Fprintf(stderr, "eisft: rank %d: %s\n", w.Rank(), errtext.Of(err))
		return w.Close(true) // which ends this process, too
	}
	if closeErr := w.Close(false); err == nil {
		err = closeErr
	}
	if w.Rank() > 0 {
		return nil
	}
	return err
}
