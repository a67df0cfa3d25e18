package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The vocabulary and the merges are nearly all of a tokenizer.json, and reflection
// takes most of the time to load it. Their two shapes are scanned directly, which
// is simple since encoding/json has checked the syntax before.

// vocabulary is an object of tokens and their ids.
type vocabulary map[string]int32

// UnmarshalJSON reads {"token": id, ...}.
func (v *vocabulary) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	s := scanner{data: data}
	if s.next() != '{' {
		return fmt.Errorf(`model.vocab: want an object {"token": id}, found %.40s`, data)
	}
	s.at++
	*v = make(vocabulary, len(data)/24)
	for s.next() != '}' {
		token, err := s.text()
		if err != nil {
			return fmt.Errorf("model.vocab: %w", err)
		}
		id, err := s.integer()
		if err != nil {
			return fmt.Errorf("model.vocab: id of %q: %w", token, err)
		}
		if other, ok := (*v)[token]; ok {
			return fmt.Errorf("model.vocab: %q is listed twice, with ids %d and %d", token, other, id)
		}
		(*v)[token] = id
	}
	return nil
}

// mergeList is a list of pairs of tokens, in the order in which they were learnt.
type mergeList [][2]string

// UnmarshalJSON reads ["a b", ...] or [["a", "b"], ...].
func (m *mergeList) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	s := scanner{data: data}
	if s.next() != '[' {
		return fmt.Errorf(`model.merges: want a list of "a b" or ["a", "b"], found %.40s`, data)
	}
	s.at++
	*m = make(mergeList, 0, len(data)/48)
	for s.next() != ']' {
		pair, err := s.pair()
		if err != nil {
			return fmt.Errorf("model.merges[%d]: %w", len(*m), err)
		}
		*m = append(*m, pair)
	}
	return nil
}

// scanner walks through valid JSON.
type scanner struct {
	data []byte
	at   int
}

// next skips to the next byte that is no space, comma or colon and returns it.
func (s *scanner) next() byte {
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
		default:
			return c
		}
	}
	return 0
}

// text reads a string.
func (s *scanner) text() (string, error) {
	if s.next() != '"' {
		return "", fmt.Errorf("want a string, found %.40s", s.data[s.at:])
	}
	start := s.at
	escaped := false
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	s.at++
	if !escaped {
		return string(s.data[start+1 : s.at-1]), nil
	}
	var text string
	err := json.Unmarshal(s.data[start:s.at], &text)
	return text, err
}

// integer reads a whole number.
func (s *scanner) integer() (int32, error) {
	s.next()
	end := s.at + bytes.IndexAny(s.data[s.at:], ",}] \t\r\n")
	id, err := strconv.ParseInt(string(s.data[s.at:end]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("want a whole number below 2^31, found %.40s", s.data[s.at:end])
	}
	s.at = end
	return int32(id), nil
}

// pair reads "a b" or ["a", "b"].
func (s *scanner) pair() (pair [2]string, err error) {
	if s.next() == '[' {
		s.at++
		for i := range pair {
			if pair[i], err = s.text(); err != nil {
				return pair, err
			}
		}
		if s.next() != ']' {
			return pair, fmt.Errorf("want two tokens, found %.40s behind %q and %q", s.data[s.at:], pair[0], pair[1])
		}
		s.at++
		return pair, nil
	}
	line, err := s.text()
	if err != nil {
		return pair, err
	}
	left, right, ok := strings.Cut(line, " ")
	if !ok || strings.Contains(right, " ") {
		return pair, fmt.Errorf("found %q, want two tokens with one space between them", line)
	}
	return [2]string{left, right}, nil
}
