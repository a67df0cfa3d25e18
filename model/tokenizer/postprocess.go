package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
)

// templatePiece is one item of a TemplateProcessing: a special token or a sequence.
type templatePiece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct {
		ID string `json:"id"`
	}
}

type templateTokens struct {
	IDs []int32 `json:"ids"`
}

// namedID is a token as ["</s>", 2].
type namedID struct{ id *int32 }

// UnmarshalJSON reads a pair of a token and its id.
func (n *namedID) UnmarshalJSON(data []byte) error {
	var name string
	var id int32
	if err := json.Unmarshal(data, &[2]any{&name, &id}); err != nil {
		return fmt.Errorf(`want ["token", id], found %.40s`, data)
	}
	n.id = &id
	return nil
}

// buildPostProcessor returns the ids that c puts before and behind a text.
func buildPostProcessor(c *component, path string) (prefix, suffix []int32, err error) {
	if c == nil {
		return nil, nil, nil
	}
	switch c.Type {
	case "ByteLevel": // moves offsets only
		return nil, nil, nil
	case "TemplateProcessing":
		return buildTemplate(c, path)
	case "RobertaProcessing", "BertProcessing":
		if c.Cls.id == nil || c.Sep.id == nil {
			return nil, nil, fmt.Errorf("%s: %s needs cls and sep", path, c.Type)
		}
		return []int32{*c.Cls.id}, []int32{*c.Sep.id}, nil
	case "Sequence":
		for i := range c.Processors {
			before, behind, err := buildPostProcessor(&c.Processors[i], fmt.Sprintf("%s.processors[%d]", path, i))
			if err != nil {
				return nil, nil, err
			}
			prefix, suffix = slices.Concat(before, prefix), slices.Concat(suffix, behind)
		}
		return prefix, suffix, nil
	}
	return nil, nil, fmt.Errorf("%s: type %q is not supported (supported: Sequence, TemplateProcessing, ByteLevel, RobertaProcessing, BertProcessing)", path, c.Type)
}

// buildTemplate reads the template for a single text.
func buildTemplate(c *component, path string) (prefix, suffix []int32, err error) {
	sequences := 0
	for i, p := range c.Single {
		switch {
		case p.Sequence != nil:
			sequences++
		case p.SpecialToken == nil:
			return nil, nil, fmt.Errorf("%s.single[%d]: want a SpecialToken or a Sequence", path, i)
		default:
			tokens, ok := c.SpecialTokens[p.SpecialToken.ID]
			if !ok {
				return nil, nil, fmt.Errorf("%s.single[%d]: special_tokens has no %q", path, i, p.SpecialToken.ID)
			}
			if sequences == 0 {
				prefix = append(prefix, tokens.IDs...)
			} else {
				suffix = append(suffix, tokens.IDs...)
			}
		}
	}
	if sequences != 1 {
		return nil, nil, fmt.Errorf("%s.single: want the text (a Sequence) once, found it %d times", path, sequences)
	}
	return prefix, suffix, nil
}
