//go:build !cgo

package ort

import "errors"

var errNoCgo = errors.New("this binary was built without cgo, which ONNX Runtime needs: build it with CGO_ENABLED=1 and a C compiler")

// value and engine have no instances in this build: initialise fails before.
type value interface{ Destroy() error }

type engine struct{}

func initialise() error { return errNoCgo }

// Version returns an error in a build without cgo.
func Version() (string, error) { return "", errNoCgo }

func newEngine(string, []byte, string, []string, []string, Options) (*engine, error) {
	return nil, errNoCgo
}

func (*engine) run([]value, []value) error { return errNoCgo }

func (*engine) close() error { return errNoCgo }

func newValue(Tensor) (value, error) { return nil, errNoCgo }
