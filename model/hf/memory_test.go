package hf_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

// TestHeadersAllocateLittle reads headers made of the shortest records there are.
func TestHeadersAllocateLittle(t *testing.T) {
	var header strings.Builder
	header.WriteString("{")
	for i := range 20000 {
		fmt.Fprintf(&header, `"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, i)
	}
	w := &hftest.GGUF{}
	w.Put("a", make([]int8, 1<<20))
	w.Put("b", make([]string, 1<<17))
	for i := range 20000 {
		w.Tensor(strconv.Itoa(i), 0, []int{0}, nil)
	}
	flat := hf.SafetensorsFile(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 1<<20)+`0],"data_offsets":[0,0]}}`, 0)
	for name, c := range map[string]struct {
		file  []byte
		parse func([]byte) error
	}{
		"safetensors": {hf.SafetensorsFile(strings.TrimSuffix(header.String(), ",")+"}", 0), func(b []byte) error { _, _, err := hf.ParseSafetensors(b); return err }},
		"long shape":  {flat, func(b []byte) error { _, _, err := hf.ParseSafetensors(b); return err }},
		"GGUF":        {w.Bytes(), func(b []byte) error { _, _, err := hf.ParseGGUF(b); return err }},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := c.parse(c.file); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if factor := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(c.file)); factor > 30 {
			t.Errorf("%s: allocated %.0f times the file's size", name, factor)
		} else {
			t.Logf("%s: allocated %.1f times the file's size", name, factor)
		}
	}
}
