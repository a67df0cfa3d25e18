package tokenizer

import (
	"fmt"
	"slices"
	"strings"
)

// Limit says how many rows the model's embedding has: tokens of higher ids are known to the
// tokenizer alone, as <image_soft_token> is in Gemma 3's text models and a [PAD] that a
// fine-tuning has added. It is called before the tokenizer is used. The warning names these
// tokens; it is "" if there are none. It fails if most of the tokens have no row.
func (t *Tokenizer) Limit(rows int) (warning string, err error) {
	t.rows = rows
	const most = 3
	var names []string
	beyond := 0
	for id := max(rows, 0); id < len(t.tokens); id++ {
		if t.tokens[id] == "" {
			continue
		}
		if beyond++; beyond <= most {
			names = append(names, fmt.Sprintf("%q (id %d)", t.tokens[id], id))
		}
	}
	switch {
	case beyond == 0:
		return "", nil
	case beyond > len(t.tokens)/2:
		return "", fmt.Errorf("the tokenizer has %d tokens, but the model embeds only %d; they belong to different models", len(t.tokens), rows)
	}
	if beyond > most {
		names = append(names, fmt.Sprintf("%d more", beyond-most))
	}
	return fmt.Sprintf("the tokenizer has tokens beyond the %d rows of the model's embedding, %s: a text with one of them is refused", rows, strings.Join(names, ", ")), nil
}

// Check reports the first of some ids that the model's embedding has no row for; see [Tokenizer.Limit].
func (t *Tokenizer) Check(ids []int32) error {
	i := slices.IndexFunc(ids, func(id int32) bool { return t.rows > 0 && int(id) >= t.rows })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("the text has the token %q, whose id is %d, but the model's embedding has %d rows, those of the ids 0 to %d: leave the token out, or take a model that was trained with it",
		t.tokens[ids[i]], ids[i], t.rows, t.rows-1)
}
