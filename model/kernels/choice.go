package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Measurement compares the built-in kernels with OpenBLAS on one core of this machine. It is made once, and what was
// chosen by it holds until the library's file changes, so that the bits of results do not change from one process to
// the next.
type Measurement struct {
	Machine  string `json:"machine"`  // the processor
	CoreType string `json:"coretype"` // OPENBLAS_CORETYPE=…, which tells the library what the processor is; "" where it is not set
	Builtin  string `json:"builtin"`  // the built-in kernels, "built-in AVX2"
	Library  string `json:"library"`  // version, core and name, "OpenBLAS 0.3.21 Haswell (libopenblas.so.0)"
	File     string `json:"file"`     // of the library; "" if that is not known
	Size     int64  `json:"size"`     // of that file
	Changed  int64  `json:"changed"`  // its time, in nanoseconds since 1970

	BuiltinRate float64 `json:"builtin_gflops"` // 10⁹ floating-point operations a second
	LibraryRate float64 `json:"library_gflops"`
}

// clearly is how many times as fast the library must be to be chosen: a measurement beside other work is not exact, and
// the built-in kernels give a token read alone the bits that it has in a block.
const clearly = 1.1

func (m *Measurement) choosesLibrary() bool { return m.LibraryRate > clearly*m.BuiltinRate }

// choiceVersion changes when kernels change so much that machines are to be measured again.
const choiceVersion = 1

// choiceFile is where the measurement of this machine is kept; home folders may serve several machines.
func choiceFile(cache string) string {
	m := newMeasurement()
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %q %q %q", choiceVersion, m.Machine, m.CoreType, m.Builtin))
	return filepath.Join(cache, "eisft", "products", hex.EncodeToString(sum[:8])+".json")
}

func newMeasurement() *Measurement {
	m := &Measurement{Machine: machine(), Builtin: builtinName()}
	const key = "OPENBLAS_CORETYPE"
	if value, ok := os.LookupEnv(key); ok { // an empty one is not as if there were none
		m.CoreType = key + "=" + value
	}
	return m
}

// machine names the processor as far as the system tells.
func machine() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	first, _, _ := strings.Cut(string(text), "\n\n")
	var parts []string
	for line := range strings.Lines(first) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "vendor_id", "cpu family", "model", "stepping", "model name", "CPU implementer", "CPU variant", "CPU part", "CPU revision":
			parts = append(parts, strings.TrimSpace(value))
		}
	}
	if err != nil || parts == nil {
		return "?"
	}
	return strings.Join(parts, " ")
}

// chooser is how a backend is chosen where nobody asks for one.
type chooser struct {
	cache   func() (string, error)              // the user's cache folder
	find    func() (*openBLAS, string, error)   // opens the library
	measure func(*openBLAS) (ours, its float64) // GFLOP/s
}

var usualChooser = chooser{os.UserCacheDir, func() (*openBLAS, string, error) { return findOpenBLAS("") }, compareRates}

// choose returns the faster of the built-in kernels and the library, as it was measured once on this machine. What
// cannot be kept is not measured: then the built-in kernels compute if they are in assembly, and else the library.
func (c chooser) choose() backendChoice {
	builtin := backendChoice{name: builtinName()}
	cache, err := c.cache()
	file := ""
	if err == nil {
		file = choiceFile(cache)
	}
	kept := readMeasurement(file)
	if kept != nil && !kept.choosesLibrary() && kept.sameFile() {
		builtin.measured, builtin.why = kept, file
		return builtin
	}
	lib, name, missing := c.find()
	if missing != nil {
		builtin.why = "no OpenBLAS to compare with"
		return builtin
	}
	library := backendChoice{blas: lib, name: name}
	if kept == nil || kept.Library != name || !kept.sameFile() {
		if err == nil {
			kept, err = c.measureAndKeep(file, lib, name)
		}
		if err != nil {
			rule := builtin
			if LibraryIsFaster() {
				rule = library
			}
			rule.why = fmt.Sprintf("there is no place to keep the result: %v", err)
			return rule
		}
	}
	chosen := builtin
	if kept.choosesLibrary() {
		chosen = library
	}
	chosen.measured, chosen.why = kept, file
	return chosen
}

// sameFile says whether the library's file is as it was.
func (m *Measurement) sameFile() bool {
	now := *m
	now.stat()
	return now == *m
}

func (m *Measurement) stat() {
	if m.File == "" {
		return
	}
	m.Size, m.Changed = 0, 0
	if info, err := os.Stat(m.File); err == nil {
		m.Size, m.Changed = info.Size(), info.ModTime().UnixNano()
	}
}

// readMeasurement returns what is kept in a file, nil if that is nothing of use.
func readMeasurement(file string) *Measurement {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	m, want := new(Measurement), newMeasurement()
	if json.Unmarshal(text, m) != nil || m.BuiltinRate <= 0 || m.LibraryRate <= 0 ||
		m.Machine != want.Machine || m.CoreType != want.CoreType || m.Builtin != want.Builtin {
		return nil
	}
	return m
}

// measureAndKeep returns what the file holds afterwards, which another process may have written at the same time.
func (c chooser) measureAndKeep(file string, lib *openBLAS, name string) (*Measurement, error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	m := newMeasurement()
	m.Library, m.File = name, lib.file()
	m.stat()
	m.BuiltinRate, m.LibraryRate = c.measure(lib)
	text, err := json.MarshalIndent(m, "", " ")
	if err == nil {
		_, err = tmp.Write(text)
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), file); errors.Is(err, fs.ErrExist) {
		if other := readMeasurement(file); other != nil && other.Library == name && other.sameFile() {
			return other, nil
		}
	} else if err == nil {
		return m, nil
	}
	return m, os.Rename(tmp.Name(), file) // over what is of no use, or where there are no links
}

// compareRates returns what one core reaches with the built-in kernels and with the library, in GFLOP/s, over the
// products of reading and training: both in turn, the best of some times, in some 20 ms.
func compareRates(lib *openBLAS) (ours, its float64) {
	const enough, least, most = 20 * time.Millisecond, 2, 20
	r := rand.New(rand.NewPCG(3, 4))
	ways := make([][2]product, 0, 3)
	flop := 0.0
	for _, s := range []struct {
		ta, tb  bool
		m, n, k int
	}{
		{false, true, 64, 256, 256},  // the rows of a block with a weight
		{false, false, 64, 256, 256}, // their gradient
		{true, false, 256, 256, 64},  // the weight's gradient
	} {
		p := product{ta: s.ta, tb: s.tb, m: s.m, n: s.n, k: s.k, alpha: 1}
		p.fillAlike(r)
		q := p
		q.blas = lib
		if s.tb { // a weight is packed once
			packed := Packed{product{tb: true, n: s.n, k: s.k, b: p.b, ldb: p.ldb}}.pack(make([]float32, PackedSize(s.n, s.k)))
			p.packed, p.b = packed.factor.packed, nil
		}
		ways = append(ways, [2]product{p, q})
		flop += 2 * float64(s.m*s.n*s.k)
	}
	best := make([][2]time.Duration, len(ways))
	start := time.Now()
	for round := 0; round < most && (round < least || time.Since(start) < enough); round++ {
		for i := range ways {
			for w := range ways[i] {
				began := time.Now()
				ways[i][w].run()
				if took := time.Since(began); round == 0 || took < best[i][w] {
					best[i][w] = took
				}
			}
		}
	}
	var total [2]time.Duration
	for _, b := range best {
		total[0], total[1] = total[0]+b[0], total[1]+b[1]
	}
	return flop / max(total[0].Seconds(), 1e-9) / 1e9, flop / max(total[1].Seconds(), 1e-9) / 1e9
}
