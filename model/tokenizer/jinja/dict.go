package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
)

// Dict is a dict in the order of its keys, which a template cannot change. Equal keys are
// one: 1, 1.0 and True.
type Dict struct {
	keys, values []Value
	hashes       []any       // of keys
	index        map[any]int // of hashes; nil while there are few
}

const fewKeys = 8

// Set gives a key of type string a value.
func (d *Dict) Set(key string, v Value) { d.put(key, key, v) }

// set gives any key that can be one a value.
func (d *Dict) set(in *interp, key, v Value) error {
	h, err := hash(in, key, 0)
	if err != nil {
		return err
	}
	if err := in.alloc(256); err != nil { // and 4 steps
		return err
	}
	d.put(h, key, v)
	return nil
}

func (d *Dict) put(h any, key, v Value) {
	if i := d.find(h); i >= 0 {
		d.values[i] = v
		return
	}
	d.keys, d.values, d.hashes = append(d.keys, key), append(d.values, v), append(d.hashes, h)
	switch {
	case d.index != nil:
		d.index[h] = len(d.keys) - 1
	case len(d.keys) > fewKeys:
		d.index = make(map[any]int, 2*len(d.keys))
		for i, h := range d.hashes {
			d.index[h] = i
		}
	}
}

// find returns the index of a hashed key, -1 without it.
func (d *Dict) find(h any) int {
	if d.index != nil {
		if i, ok := d.index[h]; ok {
			return i
		}
		return -1
	}
	for i, known := range d.hashes {
		if known == h {
			return i
		}
	}
	return -1
}

// get returns the value of a key; ok is false without it. What can be no key is an error.
func (d *Dict) get(in *interp, key Value) (v Value, ok bool, err error) {
	h, err := hash(in, key, 0)
	if err != nil {
		return nil, false, err
	}
	if i := d.find(h); i >= 0 {
		return d.values[i], true, nil
	}
	return nil, false, nil
}

func (d *Dict) field(name string) (Value, bool) {
	if i := d.find(name); i >= 0 {
		return d.values[i], true
	}
	return nil, false
}

type (
	noneKey  struct{}
	tupleKey string
)

// hash returns what stands for a key in a map: equal for equal keys.
func hash(in *interp, v Value, depth int) (any, error) {
	switch v := v.(type) {
	case nil:
		return noneKey{}, nil
	case string:
		return v, in.spend(len(v) / 64)
	case markup:
		return string(v), in.spend(len(v) / 64)
	case bool, int64:
		n, _ := toInt(v)
		return n, nil
	case *big.Int:
		return tupleKey(v.String()), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), nil
		}
		return v, nil
	case *tuple:
		return hashTuple(in, v, depth)
	case *List, *Dict, *view:
		return nil, fmt.Errorf("a %s cannot be a key", typeName(v))
	case *undefined:
		return tupleKey("undefined"), nil
	}
	return v, nil
}

func hashTuple(in *interp, t *tuple, depth int) (any, error) {
	if depth > maxDeep {
		return nil, errors.New("tuples are nested too deep for a key")
	}
	text := "("
	for _, x := range t.items {
		h, err := hash(in, x, depth+1)
		if err != nil {
			return nil, err
		}
		part := fmt.Sprintf("%T %q,", h, fmt.Sprint(h))
		if err := in.alloc(len(text) + len(part)); err != nil {
			return nil, err
		}
		if err := in.spend(len(part)); err != nil {
			return nil, err
		}
		text += part
	}
	return tupleKey(text + ")"), nil
}
