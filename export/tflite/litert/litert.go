// Package litert runs .tflite files in LiteRT, in a process of Node: what an exported file is
// verified with on a machine that has no phone.
package litert

import (
	"bufio"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

//go:embed server.cjs
var server string

// Signature are the tensors of a signature, in order.
type Signature struct {
	Inputs  []Tensor `json:"inputs"`
	Outputs []string `json:"outputs"`
}

// Tensor is an input and its size.
type Tensor struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

// Model is a .tflite file in a process of its own.
type Model struct {
	Signatures map[string]Signature

	path    string
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	busy    sync.Mutex // one run at a time
}

// answer is what the process says before tensors.
type answer struct {
	Signatures map[string]Signature `json:"signatures"`
	Error      string               `json:"error"`
}

// Open loads the file path. Its error wraps [ErrAbsent] where Node or LiteRT is missing.
func Open(path string) (*Model, error) {
	folder, err := Folder()
	if err != nil {
		return nil, err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrAbsent, err)
	}
	c := exec.Command(node, "-e", server, "server", folder, path)
	c.Stderr = os.Stderr
	m := &Model{path: path, command: c}
	if m.in, err = c.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.out = bufio.NewReaderSize(out, 1<<16)
	if err := c.Start(); err != nil {
		return nil, err
	}
	first, err := m.answer()
	if err != nil {
		return nil, fmt.Errorf("open %s in LiteRT: %w", path, errors.Join(err, m.Close()))
	}
	m.Signatures = first.Signatures
	return m, nil
}

// Run runs a signature on its inputs, slices of fixed-size numbers by name, and fills its
// outputs.
func (m *Model) Run(signature string, inputs, outputs map[string]any) error {
	s, ok := m.Signatures[signature]
	if !ok {
		return fmt.Errorf("%s has no signature %q", m.path, signature)
	}
	for _, t := range s.Inputs {
		if size := binary.Size(inputs[t.Name]); size != t.Bytes {
			return fmt.Errorf("%s, signature %s: the input %s has %d bytes, want %d", m.path, signature, t.Name, size, t.Bytes)
		}
	}
	m.busy.Lock()
	defer m.busy.Unlock()
	if err := m.run(signature, s, inputs, outputs); err != nil {
		return fmt.Errorf("%s, signature %s: %w", m.path, signature, err)
	}
	return nil
}

func (m *Model) run(signature string, s Signature, inputs, outputs map[string]any) error {
	text, err := json.Marshal(map[string]string{"signature": signature})
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(m.in, 1<<16)
	errs := []error{binary.Write(w, binary.LittleEndian, uint32(len(text)))}
	_, err = w.Write(text)
	errs = append(errs, err)
	for _, t := range s.Inputs {
		errs = append(errs, binary.Write(w, binary.LittleEndian, inputs[t.Name]))
	}
	if err := errors.Join(append(errs, w.Flush())...); err != nil {
		return fmt.Errorf("LiteRT ended: %w", err)
	}
	if _, err := m.answer(); err != nil {
		return err
	}
	for _, name := range s.Outputs {
		if err := binary.Read(m.out, binary.LittleEndian, outputs[name]); err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
	}
	return nil
}

// mostText bounds the text of an answer: a file has three signatures a shape.
const mostText = 64 << 20

func (m *Model) answer() (answer, error) {
	a := answer{}
	var length uint32
	if err := binary.Read(m.out, binary.LittleEndian, &length); err != nil {
		return a, fmt.Errorf("LiteRT ended: %w", err)
	}
	if length > mostText {
		return a, fmt.Errorf("LiteRT's answer has %d bytes, which is no answer", length)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(m.out, text); err != nil {
		return a, fmt.Errorf("LiteRT ended: %w", err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("LiteRT said %.200q: %w", text, err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Close ends the process.
func (m *Model) Close() error {
	err := m.in.Close()
	var ended *exec.ExitError
	if waited := m.command.Wait(); !errors.As(waited, &ended) { // it has said why it failed
		err = errors.Join(err, waited)
	}
	return err
}
