package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"eisft/model/hf"
)

// StateInfo describes a state's file. Counts are in tokens.
type StateInfo struct {
	Base  string // identity of the base it belongs to
	Block Spec
	Seen  int // read so far
	// Stored tokens: Recent are those of the segment that is not complete yet.
	Sinks, Slots, Window, Recent int
	Evicted                      bool // tokens have been written to the memory
	Notes                        map[string]string
}

// IsState says whether a safetensors file is a state that [Stream.Save] wrote.
func IsState(f *hf.File) bool { return f.Metadata[stateFormatKey] == stateFormat }

// OtherState is the format of a state that a file is of another version, which is not read;
// "" if it is none.
func OtherState(f *hf.File) string {
	if have := f.Metadata[stateFormatKey]; strings.HasPrefix(have, stateFormats) && have != stateFormat {
		return have
	}
	return ""
}

// ReadStateInfo reads what a state's file says about itself, without the model
// that it belongs to. It fails on counts that no stream reaches.
func ReadStateInfo(f *hf.File) (*StateInfo, error) {
	var h stateHeader
	if err := json.Unmarshal([]byte(f.Metadata[stateHeaderKey]), &h); err != nil {
		return nil, fmt.Errorf("metadata %q: %w", stateHeaderKey, err)
	}
	if err := h.Block.Validate(); err != nil {
		return nil, fmt.Errorf("metadata %q: block.%w", stateHeaderKey, err)
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	notes := maps.Clone(f.Metadata)
	delete(notes, stateFormatKey)
	delete(notes, stateHeaderKey)
	delete(notes, stateSumKey)
	return &StateInfo{
		Base: h.Base, Block: h.Block, Seen: h.Seen,
		Sinks: h.Sinks, Slots: h.Slots, Window: h.Window, Recent: h.Recent, Evicted: h.Evicted, Notes: notes,
	}, nil
}
