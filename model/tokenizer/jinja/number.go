package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strings"
)

var (
	errOverflow = errors.New("the result is beyond 64 bits, more than is supported of Python's integers")
	errZero     = errors.New("division by zero")
)

// signed computes -v or +v.
func signed(v Value, neg bool) (Value, error) {
	if n, ok := toInt(v); ok {
		if !neg {
			return n, nil
		}
		if n == math.MinInt64 {
			return nil, errOverflow
		}
		return -n, nil
	}
	if f, ok := v.(float64); ok {
		if neg {
			f = -f
		}
		return f, nil
	}
	return nil, wanted("a number behind the sign", v)
}

// binary computes left op right.
func binary(in *interp, op string, left, right Value) (Value, error) {
	for _, v := range []Value{left, right} {
		switch v := v.(type) {
		case *undefined:
			return nil, v
		case *big.Int:
			return nil, errOverflow
		}
	}
	m, mok := toInt(left)
	n, nok := toInt(right)
	if mok && nok {
		return intOp(op, m, n)
	}
	f, fok := toFloat(left)
	g, gok := toFloat(right)
	if fok && gok {
		return floatOp(op, f, g)
	}
	switch {
	case op == "+":
		return plus(in, left, right)
	case op == "*" && nok:
		return times(in, left, n, right)
	case op == "*" && mok:
		return times(in, right, m, left)
	case op == "%":
		if s, ok := left.(string); ok {
			return percent(in, s, right)
		}
		if s, ok := left.(markup); ok {
			return percentMarkup(in, s, right)
		}
	}
	return nil, fmt.Errorf("%s %s %s is not possible", typeName(left), op, typeName(right))
}

func intOp(op string, m, n int64) (Value, error) {
	switch op {
	case "+":
		if r := m + n; (r > m) == (n > 0) {
			return r, nil
		}
	case "-":
		if r := m - n; (r < m) == (n > 0) {
			return r, nil
		}
	case "*":
		return multiply(m, n)
	case "/":
		if n == 0 {
			return nil, errZero
		}
		q, _ := new(big.Rat).SetFrac64(m, n).Float64()
		return q, nil
	case "//":
		if n == 0 {
			return nil, errZero
		}
		if m == math.MinInt64 && n == -1 {
			return nil, errOverflow
		}
		q := m / n
		if m%n != 0 && (m < 0) != (n < 0) {
			q--
		}
		return q, nil
	case "%":
		if n == 0 {
			return nil, errZero
		}
		if n == -1 {
			return int64(0), nil
		}
		r := m % n
		if r != 0 && (r < 0) != (n < 0) {
			r += n
		}
		return r, nil
	case "**":
		if n < 0 {
			if m == 0 {
				return nil, errZero
			}
			return math.Pow(float64(m), float64(n)), nil
		}
		return power(m, n)
	}
	return nil, errOverflow
}

func multiply(m, n int64) (Value, error) {
	hi, lo := bits.Mul64(magnitude(m), magnitude(n))
	if hi != 0 || lo > math.MaxInt64 {
		return nil, errOverflow
	}
	return m * n, nil
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

func power(m, n int64) (Value, error) {
	switch m { // whose powers never grow
	case 0:
		n = min(n, 1)
	case 1, -1:
		n &= 1
	}
	r := int64(1)
	for range n {
		v, err := multiply(r, m)
		if err != nil {
			return nil, err
		}
		r = v.(int64)
	}
	return r, nil
}

func floatOp(op string, f, g float64) (Value, error) {
	switch op {
	case "+":
		return f + g, nil
	case "-":
		return f - g, nil
	case "*":
		return f * g, nil
	case "**":
		if f < 0 && g != math.Trunc(g) {
			return nil, errors.New("a root of a negative number, a complex one, is not supported")
		}
		r := math.Pow(f, g)
		if f == 0 && g < 0 {
			return nil, errZero
		}
		if math.IsInf(r, 0) && !math.IsInf(f, 0) && !math.IsInf(g, 0) {
			return nil, errors.New("the result is too large for a float")
		}
		return r, nil
	}
	if g == 0 {
		return nil, errZero
	}
	if op == "/" {
		return f / g, nil
	}
	r := math.Mod(f, g)
	if r != 0 && (r < 0) != (g < 0) {
		r += g
	}
	if op == "%" {
		if r == 0 {
			r = math.Copysign(0, g)
		}
		return r, nil
	}
	q := (f - r) / g
	if q == 0 {
		return math.Copysign(0, f/g), nil
	}
	floor := math.Floor(q)
	if q-floor > 0.5 {
		floor++
	}
	return floor, nil
}

// plus joins strings, lists or tuples.
func plus(in *interp, left, right Value) (Value, error) {
	switch a := left.(type) {
	case string:
		switch b := right.(type) {
		case string:
			if err := in.alloc(len(a) + len(b)); err != nil {
				return nil, err
			}
			return a + b, nil
		case markup:
			e, err := escaped(in, a)
			return e + b, err
		}
	case markup:
		if b, ok := isText(right); ok {
			e := markup(b)
			if _, ok := right.(string); ok {
				var err error
				if e, err = escaped(in, b); err != nil {
					return nil, err
				}
			}
			if err := in.alloc(len(a) + len(e)); err != nil {
				return nil, err
			}
			return a + e, nil
		}
	case *List:
		if b, ok := right.(*List); ok {
			return in.list(slices.Concat(a.items, b.items))
		}
	case *tuple:
		if b, ok := right.(*tuple); ok {
			l, err := in.list(slices.Concat(a.items, b.items))
			if err != nil {
				return nil, err
			}
			return &tuple{items: l.items}, nil
		}
	}
	return nil, fmt.Errorf("%s + %s is not possible", typeName(left), typeName(right))
}

// times repeats a string, list or tuple.
func times(in *interp, v Value, n int64, other Value) (Value, error) {
	n = max(n, 0)
	switch v := v.(type) {
	case string:
		if err := in.allocTimes(n, len(v)); err != nil {
			return nil, err
		}
		return repeat(v, n), nil
	case markup:
		if err := in.allocTimes(n, len(v)); err != nil {
			return nil, err
		}
		return markup(repeat(string(v), n)), nil
	case *List:
		if err := in.allocTimes(n, 16*len(v.items)); err != nil {
			return nil, err
		}
		return &List{repeatItems(v.items, n)}, nil
	case *tuple:
		if err := in.allocTimes(n, 16*len(v.items)); err != nil {
			return nil, err
		}
		return &tuple{items: repeatItems(v.items, n)}, nil
	}
	return nil, fmt.Errorf("%s * %s is not possible", typeName(v), typeName(other))
}

// repeat and repeatItems repeat what may be empty, and n then of any size.
func repeat(s string, n int64) string {
	if s == "" {
		return ""
	}
	return strings.Repeat(s, int(n))
}

func repeatItems(items []Value, n int64) []Value {
	if len(items) == 0 {
		return nil
	}
	return slices.Repeat(items, int(n))
}
