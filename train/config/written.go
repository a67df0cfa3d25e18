package config

import (
	"fmt"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"eisft/internal/strictyaml"
)

// Written are the key paths to which a configuration's file or a flag gives a value; all
// others have defaults. Nil stands for all.
type Written map[string]bool

func (w Written) has(path string) bool { return w == nil || w[path] }

// LoadWritten is [Load], and says what was written.
func LoadWritten(path string, settings ...strictyaml.Setting) (*Config, Written, error) {
	c, d, err := load(path, settings)
	if err != nil {
		return nil, nil, err
	}
	return c, d.Written(), nil
}

// Over returns the configuration of a run that goes on: that which it was started with, and
// over it the keys that c gives. So a default that has changed since, or a key that c gives no
// longer, changes nothing of the run. path is where was stands.
func (c *Config) Over(was *Config, w Written, path string) (*Config, error) {
	out := *c
	if w != nil {
		then, err := was.Tree()
		if err != nil {
			return nil, err
		}
		now, err := c.Tree()
		if err != nil {
			return nil, err
		}
		text, err := yaml.Marshal(w.over(then, now, ""))
		if err != nil {
			return nil, err
		}
		parsed, err := Parse(text, path)
		if err != nil {
			return nil, fmt.Errorf("%s, with the configuration's keys over it: %w", path, err)
		}
		out = *parsed
	}
	if q := &out.Model.Quantized; q.SHA256 == "" && filepath.Clean(q.Folder) == filepath.Clean(was.Model.Quantized.Folder) {
		q.SHA256 = was.Model.Quantized.SHA256
	}
	return &out, nil
}

// over returns the value at a path: then, or now where that is written.
func (w Written) over(then, now any, path string) any {
	switch now := now.(type) {
	case map[string]any:
		was, ok := then.(map[string]any)
		if !ok || was["kind"] != now["kind"] { // another stage
			break
		}
		out := map[string]any{}
		for k, v := range was {
			if _, ok := now[k]; ok || !w.has(strictyaml.Join(path, k)) { // else written as what is left out: none, 0, false
				out[k] = v
			}
		}
		for k, v := range now {
			if _, ok := was[k]; ok {
				v = w.over(was[k], v, strictyaml.Join(path, k))
			}
			out[k] = v
		}
		return out
	case []any:
		was, ok := then.([]any)
		if _, sections := first(now).(map[string]any); !ok || !sections {
			break
		}
		out := append([]any(nil), now...)
		for i := range min(len(was), len(now)) {
			if !otherFile(was[i], now[i]) {
				out[i] = w.over(was[i], now[i], fmt.Sprintf("%s[%d]", path, i))
			}
		}
		if !w.has(path) {
			return then
		}
		return out
	}
	if w.has(path) {
		return now
	}
	return then
}

// otherFile says of two items of a list whether they are about different files: keys of one
// say nothing of the other.
func otherFile(was, now any) bool {
	then, _ := was.(map[string]any)
	is, ok := now.(map[string]any)
	return ok && then["path"] != is["path"]
}

func first(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// Tree returns a configuration as maps and lists with the keys of its file.
func (c *Config) Tree() (root map[string]any, err error) {
	text, err := yaml.Marshal(c)
	if err == nil {
		err = yaml.Unmarshal(text, &root)
	}
	return root, err
}
