//go:build cgo

package ort

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"unsafe"

	"github.com/x448/float16"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

type value = onnxruntime.Value

type engine struct {
	session *onnxruntime.DynamicAdvancedSession
}

// environment guards the runtime's own process-wide state, which is set up by the
// first Open and stays until the process ends.
var environment sync.Mutex

func initialise() error {
	environment.Lock()
	defer environment.Unlock()
	if onnxruntime.IsInitialized() {
		return nil
	}
	path, err := Library()
	if err != nil {
		return err
	}
	if err := withoutTelemetry(); err != nil {
		return err
	}
	onnxruntime.SetSharedLibraryPath(path)
	if err := onnxruntime.InitializeEnvironment(onnxruntime.WithLogLevelError()); err != nil {
		return fmt.Errorf("start ONNX Runtime from %s: %w", path, err)
	}
	return nil
}

// telemetryVariable is what ONNX Runtime reads as it starts. Without it, builds from 1.29 on send
// what sessions they open, with hashes of graphs and weights, to their maker, wait for that, and
// leave a log in the temporary folder.
const telemetryVariable = "ORT_DISABLE_TELEMETRY"

// withoutTelemetry keeps ONNX Runtime from sending anything, unless the user set the variable.
func withoutTelemetry() error {
	if _, set := os.LookupEnv(telemetryVariable); set {
		return nil
	}
	return os.Setenv(telemetryVariable, "1")
}

// Version is the version of the ONNX Runtime library, "1.30.0".
func Version() (string, error) {
	if err := initialise(); err != nil {
		return "", err
	}
	return onnxruntime.GetVersion(), nil
}

// externalFolder is the session entry for where the external data of a model lies that is
// given as bytes.
const externalFolder = "session.model_external_initializers_file_folder_path"

// newEngine loads the file path or, where raw is not nil, these bytes in its place, with
// external data from a folder.
func newEngine(path string, raw []byte, folder string, inputs, outputs []string, o Options) (*engine, error) {
	if raw != nil {
		o.Config = maps.Clone(o.Config)
		if o.Config == nil {
			o.Config = map[string]string{}
		}
		o.Config[externalFolder] = folder
	}
	options, err := sessionOptions(o)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	var session *onnxruntime.DynamicAdvancedSession
	if raw != nil {
		session, err = onnxruntime.NewDynamicAdvancedSessionWithONNXData(raw, inputs, outputs, options)
	} else {
		session, err = onnxruntime.NewDynamicAdvancedSession(path, inputs, outputs, options)
	}
	if err != nil {
		return nil, err
	}
	return &engine{session: session}, nil
}

func sessionOptions(o Options) (*onnxruntime.SessionOptions, error) {
	levels := map[Level]onnxruntime.GraphOptimizationLevel{
		Basic:    onnxruntime.GraphOptimizationLevelEnableBasic,
		Disabled: onnxruntime.GraphOptimizationLevelDisableAll,
		Extended: onnxruntime.GraphOptimizationLevelEnableExtended,
		All:      onnxruntime.GraphOptimizationLevelEnableAll,
	}
	level, ok := levels[o.Level]
	if !ok {
		return nil, fmt.Errorf("optimization level %d: want Basic, Disabled, Extended or All", o.Level)
	}
	options, err := onnxruntime.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = options.SetGraphOptimizationLevel(level)
	if err == nil && o.Threads > 0 {
		err = options.SetIntraOpNumThreads(o.Threads)
	}
	if err == nil && o.Lean {
		err = options.SetCpuMemArena(false)
	}
	if err == nil && o.Lean {
		err = options.AddSessionConfigEntry(disablePrepacking, "1")
	}
	for _, key := range slices.Sorted(maps.Keys(o.Config)) {
		if err == nil {
			err = options.AddSessionConfigEntry(key, o.Config[key])
		}
	}
	if err != nil {
		return nil, errors.Join(err, options.Destroy())
	}
	return options, nil
}

func (e *engine) run(in, out []value) error { return e.session.Run(in, out) }

func (e *engine) close() error { return e.session.Destroy() }

// newValue lends a tensor's slice to the runtime.
func newValue(t Tensor) (value, error) {
	switch d := t.Data.(type) {
	case []float32:
		return onnxruntime.NewTensor(t.Shape, d)
	case []float16.Float16:
		// The runtime reads bytes here, in the order of the machine.
		raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(d))), 2*len(d))
		return onnxruntime.NewCustomDataTensor(t.Shape, raw, onnxruntime.TensorElementDataTypeFloat16)
	case []int8:
		return onnxruntime.NewTensor(t.Shape, d)
	case []uint8:
		return onnxruntime.NewTensor(t.Shape, d)
	case []int16:
		return onnxruntime.NewTensor(t.Shape, d)
	case []uint16:
		return onnxruntime.NewTensor(t.Shape, d)
	case []int32:
		return onnxruntime.NewTensor(t.Shape, d)
	case []int64:
		return onnxruntime.NewTensor(t.Shape, d)
	}
	return nil, fmt.Errorf("data of %T cannot be passed to a graph", t.Data)
}
