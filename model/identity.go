package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"

	"eisft/internal/filehash"
	"eisft/model/hf"
	"eisft/model/kernels"
)

// identity is a base's, found when it is first asked for.
type identity struct {
	once  sync.Once
	value string
	files []string // of the checkpoint
}

// identityVersion names what an identity covers.
const identityVersion = "2"

// Identity tells bases apart: a hash of every weight as the checkpoint stores it, and of
// what the configuration says of the computation. All cores read the weights; for files
// that stay as they are the result is remembered.
func (b *Base) Identity() string {
	if b.identity == nil {
		return b.hash()
	}
	b.identity.once.Do(func() {
		compute := func() (string, error) { return b.hash(), nil }
		b.identity.value, _ = filehash.Cached("base "+b.facts(), b.identity.files, compute) // compute never fails
	})
	return b.identity.value
}

// CheckIdentity reports that a base is another one than that of an identity.
func (b *Base) CheckIdentity(want string) error {
	if want == "" {
		return errors.New("base_identity is missing")
	}
	id := b.Identity()
	if !strings.Contains(want, "-") {
		id = b.firstIdentity()
	}
	if id != want {
		return fmt.Errorf("its identity was %s, that of the base given is %s", want, id)
	}
	return nil
}

// firstIdentity is what was written before identities covered every weight: a hash of the
// sizes, the embeddings of the first tokens, the rotary frequencies, every norm, and a
// scale of attention that is not 1/√d. What carries it opens as before.
func (b *Base) firstIdentity() string {
	h := sha256.New()
	fmt.Fprintln(h, b.Config.Architecture, b.Dims, b.Config.VocabSize, b.Config.IntermediateSize, len(b.Layers))
	rows := make([]float32, min(b.Embed.Out, 16)*b.Embed.In)
	b.Embed.Rows(rows, 0, len(rows)/b.Embed.In)
	h.Write(asBytes(rows))
	for _, l := range b.Layers {
		h.Write(asBytes(l.Rotary.InvFreq))
		for _, n := range l.Norms() {
			h.Write(asBytes(n.Weight))
		}
		if usual := float32(1 / math.Sqrt(float64(b.Dims.HeadDim))); l.AttentionScale != usual {
			h.Write(asBytes([]float32{l.AttentionScale}))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// irrelevant are the fields of a configuration that change no number that the base computes,
// and those that its weights show.
var irrelevant = []string{
	"DType", "MaxPositionEmbeddings", "BOS", "EOS", "Pad", "Keys",
	"TensorNames", "GroupedQKV", "InterleavedRotary", // where a checkpoint has what
}

// facts lists what the configuration says. Fields that are zero are left out, in the rotary
// embeddings' records too, so that a field that comes with a new family leaves the others'
// identities as they are.
func (b *Base) facts() string {
	text := identityVersion + "\n"
	c := reflect.ValueOf(*b.Config)
	for i := range c.NumField() {
		if f := c.Type().Field(i); !c.Field(i).IsZero() && !slices.Contains(irrelevant, f.Name) {
			value, _ := json.Marshal(c.Field(i).Interface()) // numbers, texts and lists of them never fail
			text += fmt.Sprintf("%s %s\n", f.Name, value)
		}
	}
	return text
}

// hash computes the identity.
func (b *Base) hash() string {
	h := sha256.New()
	_, _ = io.WriteString(h, b.facts()) // a hash never fails
	var parts []part
	vector := func(name string, v []float32) {
		if v != nil {
			parts = append(parts, part{name, asBytes(v)})
		}
	}
	add := func(l *Linear) {
		parts = append(parts, l.part())
		vector(l.Name+" bias", l.Bias)
	}
	norm := func(n *Norm) {
		vector(n.Name, n.Weight)
		vector(n.Name+" bias", n.Bias)
	}
	add(b.Embed)
	for _, l := range b.Layers {
		for _, m := range l.Maps() {
			add(m)
		}
		for _, n := range l.Norms() {
			norm(n)
		}
		vector("rotated query", l.QueryWeight)
		if l.Rotary != nil {
			parts = append(parts, part{"rotary", asBytes(l.Rotary.InvFreq)})
		}
	}
	for _, n := range b.Norms() {
		norm(n)
	}
	if b.Head != b.Embed {
		add(b.Head)
	}
	hashParts(h, parts)
	return identityVersion + "-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// part is a tensor's name, type and bytes.
type part struct {
	name string
	data []byte
}

func (l *Linear) part() part {
	if l.tensor.Data == nil {
		return part{l.Name + " " + string(hf.DTypeF32), asBytes(l.Weight())}
	}
	return part{fmt.Sprint(l.Name, " ", l.tensor.DType), l.tensor.Data}
}

// asBytes returns float32 numbers as little-endian bytes.
func asBytes(v []float32) []byte {
	b, _ := binary.Append(make([]byte, 0, 4*len(v)), binary.LittleEndian, v) // numbers never fail
	return b
}

// hashParts writes names, sizes and hashes of the parts' pieces, which are computed on all cores.
func hashParts(w io.Writer, parts []part) {
	const piece = 4 << 20
	type job struct{ part, from, to int }
	var jobs []job
	for i, p := range parts {
		for from := 0; from < len(p.data); from += piece {
			jobs = append(jobs, job{i, from, min(from+piece, len(p.data))})
		}
	}
	sums := make([][sha256.Size]byte, len(jobs))
	kernels.Each(len(jobs), func(i int) {
		j := jobs[i]
		sums[i] = sha256.Sum256(parts[j.part].data[j.from:j.to])
	})
	for _, p := range parts {
		fmt.Fprintln(w, p.name, len(p.data))
	}
	for _, s := range sums {
		_, _ = w.Write(s[:]) // a hash never fails
	}
}

// Identity tells trained parameters apart: a hash of their values.
func (p *Params) Identity() string {
	h := sha256.New()
	for _, q := range p.List() {
		_ = binary.Write(h, binary.LittleEndian, q.Data) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
