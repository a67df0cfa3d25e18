package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// splitter hands the words of text to emit, in order, none of them empty; first says
// of a text or word that it stands at the start of what is encoded.
type splitter func(text string, first bool, emit emitter)

type emitter func(word string, first bool)

const preTokenizerTypes = "Sequence, Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit, BertPreTokenizer"

// buildPreTokenizer makes the splitter of the pre_tokenizer. A ByteLevel step at
// its end leaves the words as bytes, and byteLevel says so to the model, which then
// looks bytes up in the vocabulary: spelling each word out would be slow.
func buildPreTokenizer(c *component) (split splitter, byteLevel bool, err error) {
	if c == nil {
		return whole, false, nil
	}
	steps := flatten(c, "pre_tokenizer")
	splitters := make([]splitter, len(steps))
	for i, s := range steps {
		last := i == len(steps)-1
		if splitters[i], err = buildSplitter(s.component, s.path, last); err != nil {
			return nil, false, err
		}
		byteLevel = last && s.Type == "ByteLevel"
	}
	return chain(splitters), byteLevel, nil
}

// step is a pre-tokenizer that is no sequence, and its place in the file.
type step struct {
	*component
	path string
}

func flatten(c *component, path string) []step {
	if c.Type != "Sequence" {
		return []step{{c, path}}
	}
	var steps []step
	for i := range c.PreTokenizers {
		steps = append(steps, flatten(&c.PreTokenizers[i], fmt.Sprintf("%s.pretokenizers[%d]", path, i))...)
	}
	return steps
}

// whole is the splitter that does not split.
func whole(text string, first bool, emit emitter) { emit(text, first) }

// chain hands the words of each splitter to the next.
func chain(splitters []splitter) splitter {
	switch len(splitters) {
	case 0:
		return whole
	case 1:
		return splitters[0]
	}
	head, rest := splitters[0], chain(splitters[1:])
	return func(text string, first bool, emit emitter) {
		head(text, first, func(word string, first bool) { rest(word, first, emit) })
	}
}

// buildSplitter makes the splitter of one pre-tokenizer; last says that none follows.
func buildSplitter(c *component, path string, last bool) (splitter, error) {
	switch c.Type {
	case "Split":
		return buildSplit(c, path)
	case "ByteLevel":
		return buildByteLevel(c, last), nil
	case "Metaspace":
		return buildMetaspace(c, path)
	case "Digits":
		if c.IndividualDigits {
			return splitBy(findChars(unicode.IsNumber), isolated, false), nil
		}
		return splitBy(findChars(unicode.IsNumber), contiguous, false), nil
	case "Punctuation":
		b, err := readBehavior(c.Behavior, isolated, path)
		return splitBy(findChars(isPunctuation), b, false), err
	case "Whitespace":
		return chain([]splitter{splitBy(findChars(unicode.IsSpace), removed, false), splitBy(findChars(isWord), contiguous, false)}), nil
	case "WhitespaceSplit":
		return splitBy(findChars(unicode.IsSpace), removed, false), nil
	case "CharDelimiterSplit":
		return splitBy(findString(c.Delimiter), removed, false), nil
	case "BertPreTokenizer":
		return chain([]splitter{splitBy(findChars(unicode.IsSpace), removed, false), splitBy(findChars(isPunctuation), isolated, false)}), nil
	}
	return nil, fmt.Errorf("%s: type %q is not supported (supported: %s)", path, c.Type, preTokenizerTypes)
}

func splitBy(find finder, b behavior, invert bool) splitter {
	return func(text string, first bool, emit emitter) {
		b.apply(pieces(text, find(text), invert), func(from, to int) { emit(text[from:to], first && from == 0) })
	}
}

// buildSplit makes Split. A well-known pattern covers the whole text, so that the
// usual behaviors need no list of pieces.
func buildSplit(c *component, path string) (splitter, error) {
	b, err := readBehavior(c.Behavior, "", path)
	if err != nil {
		return nil, err
	}
	if r := c.Pattern.Regex; r != nil && knownPatterns[*r] != nil && (b == isolated || b == removed && c.Invert) {
		return splitAll(knownPatterns[*r]), nil
	}
	find, err := c.Pattern.compile(path)
	if err != nil {
		return nil, err
	}
	return splitBy(find, b, c.Invert), nil
}

// splitAll splits with a function that gives the length of the word that text
// starts with.
func splitAll(wordLen func(text string) int) splitter {
	return func(text string, first bool, emit emitter) {
		for text != "" {
			n := wordLen(text)
			emit(text[:n], first)
			text, first = text[n:], false
		}
	}
}

func readBehavior(name string, otherwise behavior, path string) (behavior, error) {
	known := []behavior{removed, isolated, mergedWithPrevious, mergedWithNext, contiguous}
	switch {
	case name == "" && otherwise != "":
		return otherwise, nil
	case slices.Contains(known, behavior(name)):
		return behavior(name), nil
	}
	return "", fmt.Errorf("%s.behavior %q is not supported (supported: %s, %s, %s, %s, %s)",
		path, name, known[0], known[1], known[2], known[3], known[4])
}

// buildByteLevel makes ByteLevel: GPT-2's pattern, unless use_regex is off, and the
// byte-level spelling, unless the model reads bytes.
func buildByteLevel(c *component, last bool) splitter {
	steps := []splitter{}
	if isTrue(c.AddPrefixSpace, true) {
		steps = append(steps, func(text string, first bool, emit emitter) {
			if !strings.HasPrefix(text, " ") {
				text = " " + text
			}
			emit(text, first)
		})
	}
	if isTrue(c.UseRegex, true) {
		steps = append(steps, splitAll(gpt2Word))
	}
	if !last {
		steps = append(steps, func(text string, first bool, emit emitter) { emit(toByteChars(text), first) })
	}
	return chain(steps)
}

// buildMetaspace makes Metaspace: spaces become the replacement character, one is
// put in front, and words begin with it.
func buildMetaspace(c *component, path string) (splitter, error) {
	mark, scheme, err := readMetaspace(c, path)
	if err != nil {
		return nil, err
	}
	words := whole
	if isTrue(c.Split, true) {
		words = splitBy(findString(mark), mergedWithNext, false)
	}
	return func(text string, first bool, emit emitter) {
		text = strings.ReplaceAll(text, " ", mark)
		if (scheme == "always" || scheme == "first" && first) && !strings.HasPrefix(text, mark) {
			text = mark + text
		}
		words(text, first, emit)
	}, nil
}

// readMetaspace returns the replacement character and the prepend scheme, in older
// files given as add_prefix_space.
func readMetaspace(c *component, path string) (mark, scheme string, err error) {
	mark, scheme = c.Replacement, c.PrependScheme
	if len([]rune(mark)) != 1 {
		return "", "", fmt.Errorf("%s.replacement is %q, want one character", path, mark)
	}
	if scheme == "" {
		scheme = "always"
		if !isTrue(c.AddPrefixSpace, true) {
			scheme = "never"
		}
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return "", "", fmt.Errorf("%s.prepend_scheme %q is not supported (supported: always, first, never)", path, scheme)
	}
	return mark, scheme, nil
}
