// Evalall makes the texts that scripts/eval-all.sh measures, and its tables of what was measured.
//
//	evalall texts ROWS TEXTS.jsonl    the contexts of rows as plain texts
//	evalall tables DOC FOLDER         writes the tables of FOLDER's evaluations into DOC
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "evalall:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "texts":
		return texts(args[1], args[2])
	case len(args) == 3 && args[0] == "tables":
		return tables(args[1], args[2])
	default:
		return errors.New("usage: evalall texts ROWS TEXTS.jsonl | evalall tables DOC FOLDER")
	}
}
