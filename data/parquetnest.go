package data

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// node is a column with what is nested in it. A row's values are put together from the
// levels of its leaves (Melnik et al., Dremel, VLDB 2010), so that what is null stays
// where it is and shifts nothing.
type node struct {
	name               string
	optional, repeated bool
	maxDef, maxRep     int
	shape              shape
	children           []*node
	leaf               *leaf
	leaves             []*leaf // of all that is nested
	holds              holds
	logical            format.LogicalTypeValue
	printed            string // its type, for messages
}

type shape int

const (
	structShape shape = iota
	leafShape
	listShape // its one child repeats, and holds the element or is it
	mapShape  // its one child repeats, with a key and a value
)

// holds is what a leaf has.
type holds int

const (
	otherValue holds = iota
	textValue
	numberValue
	boolValue
	uuidValue
)

// corruptError is about a file that cannot be what a writer made.
type corruptError struct{ reason string }

func (e *corruptError) Error() string { return e.reason }

func newNode(c *parquet.Column, open func(*parquet.Column) *leaf) *node {
	n := &node{
		name: c.Name(), optional: c.Optional(), repeated: c.Repeated(),
		maxDef: c.MaxDefinitionLevel(), maxRep: c.MaxRepetitionLevel(), printed: c.Type().String(),
	}
	if t := c.Type().LogicalType(); t != nil {
		n.logical = t.Value
	}
	if c.Leaf() {
		n.shape, n.leaf = leafShape, open(c)
		n.leaves, n.holds = []*leaf{n.leaf}, n.classify()
		return n
	}
	for _, child := range c.Columns() {
		m := newNode(child, open)
		n.children = append(n.children, m)
		n.leaves = append(n.leaves, m.leaves...)
	}
	if len(n.children) != 1 || !n.children[0].repeated {
		return n
	}
	switch inner := n.children[0]; n.logical.(type) {
	case *format.ListType:
		n.shape = listShape
	case *format.MapType:
		if len(inner.children) == 2 && inner.children[0].leaf != nil {
			n.shape = mapShape
		}
	}
	return n
}

func (n *node) classify() holds {
	switch n.logical.(type) {
	case *format.UUIDType:
		return uuidValue
	case *format.DecimalType:
		return numberValue
	case nil, *format.StringType, *format.EnumType, *format.JsonType, *format.IntType:
	default:
		return otherValue
	}
	switch n.leaf.kind {
	case format.ByteArray:
		return textValue
	case format.Boolean:
		return boolValue
	case format.Int32, format.Int64, format.Float, format.Double:
		return numberValue
	}
	return otherValue
}

// child finds a field of a struct.
func (n *node) child(name string) *node {
	if n.shape == structShape {
		for _, c := range n.children {
			if c.name == name {
				return c
			}
		}
	}
	return nil
}

// list is the element of a list; nil: not a list. Of the layouts that writers have used,
// the rules are those of
// https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#backward-compatibility-rules.
func (n *node) list() *node {
	if n.repeated {
		return n
	}
	if n.shape != listShape {
		return nil
	}
	inner := n.children[0]
	if len(inner.children) != 1 || inner.name == "array" || inner.name == n.name+"_tuple" {
		return inner
	}
	return inner.children[0]
}

// describe says what the node is, for messages.
func (n *node) describe() string {
	if n.leaf != nil && !n.repeated {
		return "the parquet type " + n.printed
	}
	of := n
	what := "a struct"
	if e := n.list(); e != nil {
		of, what = e, "a list"
		if e.leaf != nil {
			return "a list of the parquet type " + e.printed
		}
	}
	var names []string
	for _, c := range of.children {
		names = append(names, c.name)
	}
	return what + " with the fields " + strings.Join(names, ", ")
}

// there says whether the node's next entry is there, and not null or an empty list. All
// of its leaves must agree.
func (n *node) there() (bool, error) {
	var first bool
	for i, l := range n.leaves {
		if err := l.look(); err != nil {
			return false, &corruptError{err.Error()}
		}
		here := l.d >= n.maxDef
		if i == 0 {
			first = here
		} else if here != first {
			return false, &corruptError{fmt.Sprintf("the columns of %s do not agree which of its values are null", n.name)}
		}
	}
	return first, nil
}

// skip takes the entries of a node that is null.
func (n *node) skip() error {
	for _, l := range n.leaves {
		if _, err := l.read(); err != nil {
			return &corruptError{err.Error()}
		}
	}
	return nil
}

// more says whether the list that the repeated node is in goes on.
func (n *node) more() (bool, error) {
	var first bool
	for i, l := range n.leaves {
		if err := l.look(); err != nil {
			return false, &corruptError{err.Error()}
		}
		goesOn := !l.outOfPages && l.r >= n.maxRep
		if l.r > n.maxRep || i > 0 && goesOn != first {
			return false, &corruptError{fmt.Sprintf("the columns of %s do not agree how many values it has", n.name)}
		}
		first = goesOn
	}
	return first, nil
}

// json takes the node's part of a row and appends it as JSON. What is null in a struct
// is left out: a column of structs has the fields of all of its rows.
func (n *node) json(out []byte) ([]byte, error) {
	if len(n.leaves) == 0 {
		return append(out, "null"...), nil
	}
	there, err := n.there()
	if err != nil {
		return nil, err
	}
	if !there {
		if err := n.skip(); err != nil {
			return nil, err
		}
		if n.repeated {
			return append(out, "[]"...), nil
		}
		return append(out, "null"...), nil
	}
	if n.repeated {
		return n.items(out, n.present, '[', ']')
	}
	return n.present(out)
}

// present appends a node that is there, or one of a repeated node.
func (n *node) present(out []byte) ([]byte, error) {
	switch n.shape {
	case leafShape:
		v, err := n.leaf.read()
		if err != nil {
			return nil, &corruptError{err.Error()}
		}
		return n.appendValue(out, v)
	case listShape:
		return n.nested(out, n.list().json, '[', ']')
	case mapShape:
		return n.nested(out, n.children[0].pair, '{', '}')
	}
	out = append(out, '{')
	for _, c := range n.children {
		mark := len(out)
		if out[mark-1] != '{' {
			out = append(out, ',')
		}
		out = append(appendText(out, c.name), ':')
		start := len(out)
		var err error
		if out, err = c.json(out); err != nil {
			return nil, within(err, c.name)
		}
		if bytes.Equal(out[start:], []byte("null")) {
			out = out[:mark]
		}
	}
	return append(out, '}'), nil
}

// nested appends the entries of a list or a map, which its one child repeats.
func (n *node) nested(out []byte, each func([]byte) ([]byte, error), begin, end byte) ([]byte, error) {
	inner := n.children[0]
	there, err := inner.there()
	if err != nil {
		return nil, err
	}
	if !there {
		return append(out, begin, end), inner.skip()
	}
	if n.list() == inner {
		each = inner.present
	}
	return inner.items(out, each, begin, end)
}

// items appends the entries of a repeated node, one or more.
func (n *node) items(out []byte, each func([]byte) ([]byte, error), begin, end byte) ([]byte, error) {
	out = append(out, begin)
	for i := 1; ; i++ {
		var err error
		if out, err = each(out); err != nil {
			return nil, within(err, fmt.Sprintf("number %d", i))
		}
		more, err := n.more()
		if err != nil {
			return nil, err
		}
		if !more {
			return append(out, end), nil
		}
		if out = append(out, ','); len(out) > maxRow {
			return nil, fmt.Errorf("more than %d bytes in one row", maxRow)
		}
	}
}

// pair appends an entry of a map.
func (n *node) pair(out []byte) ([]byte, error) {
	key, value := n.children[0], n.children[1]
	k, err := key.leaf.read()
	if err != nil {
		return nil, &corruptError{err.Error()}
	}
	name, err := key.text(k)
	if err != nil {
		return nil, err
	}
	out, err = value.json(append(appendText(out, name), ':'))
	return out, within(err, name)
}

// within says where in a cell an error is.
func within(err error, name string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// value takes a leaf that does not repeat.
func (n *node) value() (v scalar, null bool, err error) {
	there, err := n.there()
	if err == nil {
		if v, err = n.leaf.read(); err != nil {
			err = &corruptError{err.Error()}
		}
	}
	return v, !there, err
}

func (n *node) appendValue(out []byte, v scalar) ([]byte, error) {
	if n.holds == numberValue || n.holds == boolValue {
		text, err := n.text(v)
		return append(out, text...), err
	}
	text, err := n.text(v)
	if err != nil {
		return nil, err
	}
	if err := checkText(text); err != nil {
		return nil, err
	}
	if _, ok := n.logical.(*format.JsonType); ok && json.Valid(v.bytes) {
		return append(out, v.bytes...), nil
	}
	return appendText(out, text), nil
}

// appendText appends a string of valid UTF-8 as JSON.
func appendText(out []byte, s string) []byte {
	quoted, _ := json.Marshal(s)
	return append(out, quoted...)
}

// number is the value of a leaf that holds numbers.
func (n *node) number(v scalar) float64 {
	switch _, decimal := n.logical.(*format.DecimalType); {
	case decimal:
		text, err := n.text(v)
		if err != nil {
			return math.NaN()
		}
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return math.NaN()
		}
		return x
	case n.leaf.kind == format.Float || n.leaf.kind == format.Double:
		return math.Float64frombits(v.bits)
	case n.unsigned():
		return float64(v.bits)
	}
	return float64(int64(v.bits))
}

func (n *node) unsigned() bool {
	t, ok := n.logical.(*format.IntType)
	return ok && !t.IsSigned
}

// text writes a value: strings as they are, bytes of other types in hexadecimal.
func (n *node) text(v scalar) (string, error) {
	if t, ok := n.logical.(*format.DecimalType); ok {
		return decimal(n.leaf.kind, v, int(t.Scale))
	}
	switch n.holds {
	case textValue:
		return string(v.bytes), nil
	case uuidValue:
		if len(v.bytes) != 16 {
			return "", &corruptError{fmt.Sprintf("a UUID of %d bytes", len(v.bytes))}
		}
		b := v.bytes
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
	}
	switch n.leaf.kind {
	case format.Boolean:
		return strconv.FormatBool(v.bits != 0), nil
	case format.Int32, format.Int64:
		if n.unsigned() {
			if n.leaf.kind == format.Int32 {
				return strconv.FormatUint(uint64(uint32(v.bits)), 10), nil
			}
			return strconv.FormatUint(v.bits, 10), nil
		}
		return strconv.FormatInt(int64(v.bits), 10), nil
	case format.Float, format.Double:
		x := math.Float64frombits(v.bits)
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return "", fmt.Errorf("found %g, want a number", x)
		}
		size := 64
		if n.leaf.kind == format.Float {
			size = 32
		}
		return strconv.FormatFloat(x, 'g', -1, size), nil
	}
	return hex.EncodeToString(v.bytes), nil
}

// decimal writes the integer in v, in two's complement with the highest byte first where
// it is of bytes, divided by 10^scale.
func decimal(kind format.Type, v scalar, scale int) (string, error) {
	const most = 1000 // more than any precision
	if scale < 0 || scale > most || len(v.bytes) > most {
		return "", &corruptError{fmt.Sprintf("a decimal of %d bytes with the scale %d", len(v.bytes), scale)}
	}
	whole := big.NewInt(int64(v.bits))
	if kind == format.ByteArray || kind == format.FixedLenByteArray {
		whole.SetBytes(v.bytes)
		if len(v.bytes) > 0 && v.bytes[0]&0x80 != 0 {
			whole.Sub(whole, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v.bytes))))
		}
	}
	digits := new(big.Int).Abs(whole).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if whole.Sign() < 0 {
		digits = "-" + digits
	}
	return digits, nil
}
