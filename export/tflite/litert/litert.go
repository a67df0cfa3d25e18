// Package litert runs .tflite files in LiteRT, in a process of Node: what an exported file is
// verified with on a machine that has no phone.
package litert

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed server.cjs
var server string

// FolderVariable names the environment's variable with the folder that scripts/fetch-litert.sh
// has filled.
const FolderVariable = "EISFT_LITERT"

// ErrAbsent is wrapped by Open's error where Node or LiteRT is missing.
var ErrAbsent = errors.New("LiteRT is not installed: run scripts/fetch-litert.sh, and set " + FolderVariable + " if the folder is not .cache/litert")

// Signature are the names of a signature's tensors, in order.
type Signature struct {
	Index   int      `json:"index"`
	Inputs  []string `json:"inputs"`
	Outputs []string `json:"outputs"`
}

// Model is a .tflite file in a process of its own.
type Model struct {
	Signatures map[string]Signature
	command    *exec.Cmd
	in         io.WriteCloser
	out        *bufio.Reader
}

// answer is a line of the process.
type answer struct {
	Signatures map[string]Signature `json:"signatures"`
	Outputs    map[string][]byte    `json:"outputs"`
	Error      string               `json:"error"`
}

// Open loads the file path. folder has LiteRT's package.
func Open(folder, path string) (*Model, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrAbsent, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "@litertjs", "core")); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrAbsent, err)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return nil, err
	}
	c := exec.Command(node, "-e", server, "server", folder, path)
	c.Stderr = os.Stderr
	m := &Model{command: c}
	if m.in, err = c.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.out = bufio.NewReader(out)
	if err := c.Start(); err != nil {
		return nil, err
	}
	first, err := m.answer()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Close())
	}
	m.Signatures = first.Signatures
	return m, nil
}

// Run runs a signature on the bytes of its inputs and returns those of its outputs.
func (m *Model) Run(signature string, inputs map[string][]byte) (map[string][]byte, error) {
	s, ok := m.Signatures[signature]
	if !ok {
		return nil, fmt.Errorf("the file has no signature %q", signature)
	}
	for _, name := range s.Inputs {
		if inputs[name] == nil {
			return nil, fmt.Errorf("signature %s: the input %s is missing", signature, name)
		}
	}
	line, err := json.Marshal(map[string]any{"signature": signature, "inputs": inputs})
	if err != nil {
		return nil, err
	}
	if _, err := m.in.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	a, err := m.answer()
	if err != nil {
		return nil, fmt.Errorf("signature %s: %w", signature, err)
	}
	return a.Outputs, nil
}

func (m *Model) answer() (answer, error) {
	line, err := m.out.ReadBytes('\n')
	if err != nil {
		return answer{}, fmt.Errorf("LiteRT ended: %w", err)
	}
	a := answer{}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("LiteRT said %.200q: %w", line, err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Close ends the process.
func (m *Model) Close() error { return errors.Join(m.in.Close(), m.command.Wait()) }
