package main

import (
	"github.com/urfave/cli/v2"

	"eisft/data"
)

// filesValue are the data files of a flag that may be given several times.
type filesValue data.Files

// Set implements [cli.Generic].
func (f *filesValue) Set(path string) error {
	*f = append(*f, data.File{Path: path})
	return nil
}

// String implements [cli.Generic].
func (f *filesValue) String() string { return data.Files(*f).String() }

// filesFlag names data files: paths, or patterns of names.
func filesFlag(name, usage, defaultText string) cli.Flag {
	return &cli.GenericFlag{Name: name, Usage: usage, Value: new(filesValue), DefaultText: defaultText, TakesFile: true}
}

// files are those that a flag of [filesFlag] names, in order.
func files(c *cli.Context, flag string) (data.Files, error) {
	list := data.Files(*c.Generic(flag).(*filesValue))
	for _, f := range list {
		if f.Path == "" {
			return nil, usagef(c, "--%s is empty; name a data file", flag)
		}
	}
	return list, nil
}
