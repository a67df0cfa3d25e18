package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// gp is a general register, vec one of 128 bits.
type (
	gp  int
	vec int
)

func (r gp) String() string { return fmt.Sprintf("R%d", int(r)) }

// scalar is the lowest part of a vector register, bytes are its 16 bytes, words its four words of 32 bits.
func (v vec) scalar() string { return fmt.Sprintf("F%d", int(v)) }
func (v vec) bytes() string  { return fmt.Sprintf("V%d.B16", int(v)) }
func (v vec) halves() string { return fmt.Sprintf("V%d.H8", int(v)) }
func (v vec) words() string  { return fmt.Sprintf("V%d.S4", int(v)) }
func (v vec) doubles() string {
	return fmt.Sprintf("V%d.D2", int(v))
}

// kernel is one function that is being emitted.
type kernel struct {
	name, sig string
	doc       []string
	params    map[string]param
	argBytes  int
	body      strings.Builder
	labels    int
	gps, vecs []bool          // in use
	where     map[uint32]lane // of a constant
}

type param struct {
	offset int
	kind   string
}

// lane is a word of a vector register.
type lane struct {
	v vec
	i int
}

var kernels []*kernel

// function starts a kernel. sig is its Go signature, doc its comment.
func function(name, sig, doc string) *kernel {
	k := &kernel{
		name: name, sig: sig, doc: strings.Split(doc, "\n"), params: map[string]param{}, where: map[uint32]lane{},
		gps: make([]bool, 26), vecs: make([]bool, 32),
	}
	k.gps[18] = true // the system's
	k.parse()
	kernels = append(kernels, k)
	return k
}

// parse finds the parameters of a signature such as "(a, b []float32, n int) float32" and where ABI0 puts them.
func (k *kernel) parse() {
	args, result, _ := strings.Cut(strings.TrimPrefix(k.sig, "("), ")")
	place := func(names []string, kind string) {
		size, ok := map[string][2]int{"int": {8, 8}, "uint32": {4, 4}, "float32": {4, 4}, "bool": {1, 1}, "byte": {1, 1}}[kind]
		switch {
		case strings.HasPrefix(kind, "*"):
			size = [2]int{8, 8}
		case strings.HasPrefix(kind, "[]"):
			size = [2]int{24, 8}
		case !ok:
			panic(kind)
		}
		for _, name := range names {
			at := (k.argBytes + size[1] - 1) / size[1] * size[1]
			k.params[name] = param{at, kind}
			k.argBytes = at + size[0]
		}
	}
	var names []string
	for _, arg := range strings.Split(args, ", ") {
		name, kind, typed := strings.Cut(arg, " ")
		names = append(names, name)
		if typed {
			place(names, kind)
			names = nil
		}
	}
	if result = strings.TrimSpace(result); result != "" {
		k.argBytes = (k.argBytes + 7) &^ 7
		place([]string{"ret"}, result)
	}
}

// emit writes an instruction.
func (k *kernel) emit(format string, args ...any) { fmt.Fprintf(&k.body, "\t"+format+"\n", args...) }

// word writes an instruction that Go's assembler does not know.
func (k *kernel) word(code uint32, format string, args ...any) {
	fmt.Fprintf(&k.body, "\tWORD $0x%08x // %s\n", code, fmt.Sprintf(format, args...))
}

// label returns a new name, mark puts it here.
func (k *kernel) label(name string) string {
	k.labels++
	return fmt.Sprintf("%s%d", name, k.labels)
}

func (k *kernel) mark(label string) { fmt.Fprintf(&k.body, "%s:\n", label) }

// gp and vec take a register that is not in use; keep returns what gives back all that are taken from now on.
func (k *kernel) gp() gp {
	i := slices.Index(k.gps, false)
	if i < 0 {
		panic(k.name + ": no general register is left")
	}
	k.gps[i] = true
	return gp(i)
}

func (k *kernel) vec() vec { return k.vecsOf(1)[0] }

// vecsOf takes n vector registers with numbers one after another.
func (k *kernel) vecsOf(n int) []vec {
	free := 0
	for i, used := range k.vecs {
		if used {
			free = 0
			continue
		}
		if free++; free == n {
			v := make([]vec, n)
			for j := range v {
				v[j] = vec(i - n + 1 + j)
				k.vecs[v[j]] = true
			}
			return v
		}
	}
	panic(fmt.Sprintf("%s: no %d vector registers are left", k.name, n))
}

func (k *kernel) free(v ...vec) {
	for _, v := range v {
		k.vecs[v] = false
	}
}

func (k *kernel) keep() (release func()) {
	gps, vecs := slices.Clone(k.gps), slices.Clone(k.vecs)
	return func() { k.gps, k.vecs = gps, vecs }
}

func (k *kernel) at(name, part string) string {
	p, ok := k.params[name]
	if !ok {
		panic(k.name + " has no parameter " + name)
	}
	offset := p.offset
	if part == "_len" {
		offset += 8
	}
	return fmt.Sprintf("%s%s+%d(FP)", name, part, offset)
}

// arg loads a parameter that is an integer or a pointer, pointer and length those of a slice.
func (k *kernel) arg(name string) gp     { return k.load(name, "") }
func (k *kernel) pointer(name string) gp { return k.load(name, "_base") }
func (k *kernel) length(name string) gp  { return k.load(name, "_len") }

func (k *kernel) load(name, part string) gp {
	r := k.gp()
	k.reload(r, name, part)
	return r
}

func (k *kernel) reload(r gp, name, part string) {
	move := "MOVD"
	if k.params[name].kind == "bool" {
		move = "MOVBU"
	}
	k.emit("%s %s, %v", move, k.at(name, part), r)
}

// stride loads a parameter that counts float32, as bytes.
func (k *kernel) stride(name string) gp {
	r := k.arg(name)
	k.emit("LSL $2, %v, %v", r, r)
	return r
}

// scalar loads a float32 parameter into the first lane, broadcast into all.
func (k *kernel) scalar(name string) vec {
	v := k.vec()
	k.emit("FMOVS %s, %s", k.at(name, ""), v.scalar())
	return v
}

func (k *kernel) broadcast(name string) vec {
	v := k.scalar(name)
	k.emit("VDUP V%d.S[0], %s", int(v), v.words())
	return v
}

// returnFirst returns the first lane of v.
func (k *kernel) returnFirst(v vec) {
	k.emit("FMOVS %s, %s", v.scalar(), k.at("ret", ""))
	k.emit("RET")
}

// use loads constants into registers, four into each.
func (k *kernel) use(numbers ...float32) {
	bits := make([]uint32, len(numbers))
	for i, n := range numbers {
		bits[i] = math.Float32bits(n)
	}
	k.useBits(bits...)
}

func (k *kernel) useBits(bits ...uint32) {
	var fresh []uint32
	for _, b := range bits {
		if _, ok := k.where[b]; !ok && !slices.Contains(fresh, b) {
			fresh = append(fresh, b)
		}
	}
	for four := range slices.Chunk(fresh, 4) {
		v := k.vec()
		for i, b := range four {
			k.where[b] = lane{v, i}
		}
		k.quad(v, append(four, 0, 0, 0, 0))
	}
}

// quad loads four words.
func (k *kernel) quad(v vec, w []uint32) {
	k.emit("VMOVQ $0x%016x, $0x%016x, V%d", uint64(w[1])<<32|uint64(w[0]), uint64(w[3])<<32|uint64(w[2]), int(v))
}

// constant returns the lane that use has loaded a constant into.
func (k *kernel) constant(c float32) lane { return k.constantBits(math.Float32bits(c)) }

func (k *kernel) constantBits(c uint32) lane {
	l, ok := k.where[c]
	if !ok {
		panic(fmt.Sprintf("%s does not use %#08x", k.name, c))
	}
	return l
}

// filled returns a new vector of copies of a constant.
func (k *kernel) filled(c float32) vec { return k.filledBits(math.Float32bits(c)) }

func (k *kernel) filledBits(c uint32) vec {
	v := k.vec()
	k.dup(v, k.constantBits(c))
	return v
}

func assembly() string {
	var s strings.Builder
	s.WriteString("// Code generated by command: go run ./neon -out ../asm_arm64.s -stubs ../asm_arm64.go. DO NOT EDIT.\n\n")
	s.WriteString("//go:build !purego\n\n#include \"textflag.h\"\n")
	for _, k := range kernels {
		fmt.Fprintf(&s, "\n// func %s%s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n%s", k.name, k.sig, k.name, k.argBytes, k.body.String())
	}
	return s.String()
}

func declarations() string {
	var s strings.Builder
	s.WriteString("// Code generated by command: go run ./neon -out ../asm_arm64.s -stubs ../asm_arm64.go. DO NOT EDIT.\n\n")
	s.WriteString("//go:build !purego\n\npackage kernels\n")
	for _, k := range kernels {
		fmt.Fprintf(&s, "\n// %s\n//\n//go:noescape\nfunc %s%s\n", strings.Join(k.doc, "\n// "), k.name, k.sig)
	}
	return s.String()
}
