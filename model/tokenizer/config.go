package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"eisft/model/hf"
)

// config is what is read of tokenizer_config.json.
type config struct {
	BOS          tokenText       `json:"bos_token"`
	EOS          tokenText       `json:"eos_token"`
	Pad          tokenText       `json:"pad_token"`
	Unk          tokenText       `json:"unk_token"`
	ChatTemplate json.RawMessage `json:"chat_template"`
}

// tokenText is a token given as its content or as an object with a content.
type tokenText string

// UnmarshalJSON reads "</s>", {"content": "</s>"} or null.
func (t *tokenText) UnmarshalJSON(data []byte) error {
	var object struct {
		Content string `json:"content"`
	}
	if err := json.Unmarshal(data, &object); err == nil {
		*t = tokenText(object.Content)
		return nil
	}
	return json.Unmarshal(data, (*string)(t))
}

func (c config) hasTemplate() bool {
	return len(c.ChatTemplate) > 0 && string(c.ChatTemplate) != "null"
}

// special lists the tokens with a role, by their keys in the files that name them.
func (c *config) special() map[string]*tokenText {
	return map[string]*tokenText{"bos_token": &c.BOS, "eos_token": &c.EOS, "pad_token": &c.Pad, "unk_token": &c.Unk}
}

// config reads tokenizer_config.json; without one it begins with the zero config. As in
// transformers (PreTrainedTokenizerBase._from_pretrained), special_tokens_map.json goes before
// a tokenizer_config.json without added_tokens_decoder. Tokens that neither file names are
// those of special_tokens_map.json in any case, or else of generation_config.json, by their ids.
func (s *source) config() (config, error) {
	c, _, err := s.readConfig(ConfigFile)
	if err != nil {
		return c, err
	}
	named, err := s.keys(ConfigFile)
	if err != nil {
		return c, err
	}
	mapped, _, err := s.readConfig(specialFile)
	if err != nil {
		return c, err
	}
	_, later := named["added_tokens_decoder"]
	tokens, unnamed := c.special(), map[string]*tokenText{}
	for key, token := range mapped.special() {
		_, known := named[key]
		if *token != "" && (!later || !known) {
			*tokens[key] = *token
		} else if !known && key != "unk_token" {
			unnamed[key] = tokens[key]
		}
	}
	return c, s.generation(unnamed)
}

// keys returns what a file has, by name; nothing without a file.
func (s *source) keys(name string) (keys map[string]json.RawMessage, err error) {
	data, from, err := s.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		if err = json.Unmarshal(data, &keys); err != nil {
			err = fmt.Errorf("%s: %w", from, jsonError(data, err))
		}
	}
	return keys, err
}

// generation fills in tokens that generation_config.json names by their ids.
func (s *source) generation(tokens map[string]*tokenText) error {
	if s.gguf != nil || len(tokens) == 0 {
		return nil
	}
	keys, err := s.keys(hf.GenerationFile)
	if err != nil {
		return err
	}
	ids := map[string]int32{}
	for key := range tokens {
		var all []int32
		raw := keys[key+"_id"] // a number, or a list of which the first one counts
		if json.Unmarshal(raw, &all) == nil && len(all) > 0 {
			ids[key] = all[0]
		} else if one := int32(-1); json.Unmarshal(raw, &one) == nil && one >= 0 {
			ids[key] = one
		}
	}
	if len(ids) == 0 {
		return nil
	}
	data, from, err := s.read(File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // whoever needs it says so
	}
	if err != nil {
		return err
	}
	var f struct {
		AddedTokens []addedToken `json:"added_tokens"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return fmt.Errorf("%s: %w", from, jsonError(data, err))
	}
	for _, a := range f.AddedTokens {
		for key, id := range ids {
			if a.ID == id {
				*tokens[key] = tokenText(a.Content)
			}
		}
	}
	return nil
}

// readConfig reads a file that has keys of tokenizer_config.json, and says where it
// stands; without one it returns the zero config.
func (s *source) readConfig(name string) (c config, from string, err error) {
	data, from, err := s.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, from, nil
	}
	if err != nil {
		return c, from, fmt.Errorf("load tokenizer: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, from, fmt.Errorf("%s: %w", from, jsonError(data, err))
	}
	return c, from, nil
}
