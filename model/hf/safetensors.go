package hf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"eisft/internal/head"
)

const (
	metadataKey = "__metadata__"
	// maxHeader is the limit of the reference implementation.
	maxHeader = 100_000_000
	// again is the advice for a file that cannot be what its author wrote.
	again = "the file is damaged or incomplete: download or write it again"
)

// File is an open safetensors file, mapped into memory. Opening reads the
// header only. It may be used from several goroutines.
type File struct {
	// Metadata is the header's free-form map; empty if there is none.
	Metadata map[string]string

	path    string
	tensors map[string]Tensor
	unmap   func() error
}

// OpenFile opens one safetensors file (format: https://github.com/huggingface/safetensors)
// and checks its whole header: every tensor's type, shape and place.
func OpenFile(path string) (*File, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("open safetensors: %w", err)
	}
	f := &File{path: path, unmap: unmap}
	if f.tensors, f.Metadata, err = parseSafetensors(data); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), unmap())
	}
	return f, nil
}

// Names lists the tensors in alphabetical order.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Has says whether the file holds the tensor.
func (f *File) Has(name string) bool {
	_, ok := f.tensors[name]
	return ok
}

// Tensor returns a tensor as a view of the file.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: tensor %s is not in the file, which holds %d others", f.path, name, len(f.tensors))
	}
	return t, nil
}

// Close unmaps the file. Tensors obtained from it must not be read afterwards.
func (f *File) Close() error { return f.unmap() }

// tensorInfo is a tensor's record in the header.
type tensorInfo struct {
	DType   DType     `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets *[2]int64 `json:"data_offsets"` // begin and end within the data section
}

// parseSafetensors returns the tensors of a file's bytes as views of them.
func parseSafetensors(file []byte) (map[string]Tensor, map[string]string, error) {
	if err := head.Check(file); err != nil {
		return nil, nil, err
	}
	if len(file) < 8 {
		return nil, nil, fmt.Errorf("found %d bytes, want at least the 8 of the header's length; %s", len(file), again)
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader {
		return nil, nil, fmt.Errorf("found a header length of %d, want at most %d: this is no safetensors file, or it is damaged", n, maxHeader)
	}
	if n > uint64(len(file)-8) {
		return nil, nil, fmt.Errorf("found a header length of %d, but only %d bytes follow it; %s", n, len(file)-8, again)
	}
	infos, metadata, err := parseHeader(file[8 : 8+n])
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w; %s", err, again)
	}
	data := file[8+n:]
	tensors := make(map[string]Tensor, len(infos))
	for name, info := range infos {
		if layouts[info.DType].count != 1 {
			return nil, nil, fmt.Errorf("tensor %s: dtype %q is not known: save the model as BF16 or F32", name, string(info.DType))
		}
		if err := info.check(len(data)); err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w; %s", name, err, again)
		}
		view := data[info.Offsets[0]:info.Offsets[1]:info.Offsets[1]]
		tensors[name] = Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: view}
	}
	if err := checkCoverage(infos, int64(len(data))); err != nil {
		return nil, nil, fmt.Errorf("%w; %s", err, again)
	}
	return tensors, metadata, nil
}

// parseHeader decodes the header's JSON object. It goes key by key since
// decoding into a map would let a repeated name replace the one before.
func parseHeader(header []byte) (map[string]tensorInfo, map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(header))
	if tok, err := dec.Token(); err != nil {
		return nil, nil, fmt.Errorf("invalid JSON: %w", noEOF(err))
	} else if tok != json.Delim('{') {
		return nil, nil, fmt.Errorf("found %v, want a JSON object", tok)
	}
	infos, metadata := map[string]tensorInfo{}, map[string]string{}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("invalid JSON at byte %d: %w", dec.InputOffset(), noEOF(err))
		}
		name := tok.(string) // what the decoder gives for a key
		if seen[name] {
			return nil, nil, fmt.Errorf("%s is there twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			err = dec.Decode(&metadata)
		} else {
			var info tensorInfo
			err = dec.Decode(&info)
			infos[name] = info
		}
		if err != nil {
			return nil, nil, fmt.Errorf("invalid JSON for %s: %w", name, noEOF(err))
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, nil, fmt.Errorf("invalid JSON at byte %d: %w", dec.InputOffset(), noEOF(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("found more after the JSON object, at byte %d", dec.InputOffset())
	}
	return infos, metadata, nil
}

// noEOF turns the end of the input, which a decoder reports as io.EOF, into an
// error that says that more was wanted.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// check compares a tensor's place in the file with its type and shape.
func (i tensorInfo) check(dataLen int) error {
	if i.Shape == nil || i.Offsets == nil {
		return errors.New("found no shape or data_offsets, want both")
	}
	_, size, err := storage(i.DType, i.Shape)
	if err != nil {
		return err
	}
	begin, end := i.Offsets[0], i.Offsets[1]
	if begin < 0 || end < begin || end > int64(dataLen) {
		return fmt.Errorf("found data offsets [%d, %d], want them ascending within the %d bytes of data", begin, end, dataLen)
	}
	if end-begin != int64(size) {
		return fmt.Errorf("found %d bytes of data, want %d for %s %v", end-begin, size, i.DType, i.Shape)
	}
	return nil
}

// checkCoverage makes sure that the tensors fill the data section exactly.
func checkCoverage(infos map[string]tensorInfo, dataLen int64) error {
	names := slices.SortedFunc(maps.Keys(infos), func(a, b string) int {
		x, y := infos[a].Offsets, infos[b].Offsets
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	})
	pos, before := int64(0), "the start of the data"
	for _, name := range names {
		switch begin := infos[name].Offsets[0]; {
		case begin < pos:
			return fmt.Errorf("tensor %s: found it to begin at %d, inside of %s, which ends at %d", name, begin, before, pos)
		case begin > pos:
			return fmt.Errorf("tensor %s: found it to begin at %d, want %d, where %s ends", name, begin, pos, before)
		}
		pos, before = infos[name].Offsets[1], name
	}
	if pos != dataLen {
		return fmt.Errorf("found %d bytes of data, want %d, where the last tensor ends", dataLen, pos)
	}
	return nil
}
