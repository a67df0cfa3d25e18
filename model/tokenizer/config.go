package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// config reads tokenizer_config.json; without one it returns the zero config.
func (s *source) config() (config, error) {
	c, _, err := s.readConfig(configFile)
	return c, err
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
