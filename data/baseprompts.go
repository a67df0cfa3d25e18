package data

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"eisft/internal/errtext"
	"eisft/internal/nearest"
)

// BaseFile is the file of a model's folder that says how its base was trained to be asked.
const BaseFile = "eisft.json"

// BasePrompts are the prompt templates that a base was trained with.
type BasePrompts struct {
	Prompt  string            `json:"prompt,omitempty"`  // of all rows with a context
	Prompts map[string]string `json:"prompts,omitempty"` // of rows whose dataset column has the key's value
}

// ReadBasePrompts reads those of the model in a folder; a folder without BaseFile, or a file
// in the place of the folder, has none.
func ReadBasePrompts(model string) (BasePrompts, error) {
	path := filepath.Join(model, BaseFile)
	text, err := os.ReadFile(path)
	if err != nil {
		if info, failed := os.Stat(model); errors.Is(err, fs.ErrNotExist) || failed == nil && !info.IsDir() {
			return BasePrompts{}, nil
		}
		return BasePrompts{}, err
	}
	var b BasePrompts
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return BasePrompts{}, fmt.Errorf(`%s: %w; want {"prompt": "…{context}…{input}…", "prompts": {"DATASET": "…"}}`, path, errtext.JSON("", err))
	}
	if err := (Options{Prompt: b.Prompt, Prompts: b.Prompts}).check(); err != nil {
		return BasePrompts{}, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// of is the template for a row, "" for none: where the context begins as the template does, the
// row has been written by it already.
func (b BasePrompts) of(dataset, context string) string {
	template := cmp.Or(b.Prompts[dataset], b.Prompt)
	head, _, _ := strings.Cut(template, "{context}")
	if head != "" && strings.HasPrefix(context, head) {
		return ""
	}
	return template
}

// promptNote says that the base's own prompts are in use.
func (p *dataFile) promptNote() string {
	o := p.options
	asked := p.form.format == FormatLongBench || p.form.format == FormatQA
	if !asked || o.Prompt != "" || len(o.Prompts) > 0 || o.Base.Prompt == "" && len(o.Base.Prompts) == 0 {
		return ""
	}
	what := "all"
	if o.Base.Prompt == "" {
		what = strings.Join(slices.Sorted(maps.Keys(o.Base.Prompts)), ", ")
	}
	return fmt.Sprintf(", asked as the model's %s says (%s) where they are not written so already", BaseFile, what)
}

// ParseColumns reads NAME=COLUMN,…, such as context=document,input=question.
func ParseColumns(text string) (Columns, error) {
	var c Columns
	fields, names := map[string]reflect.Value{}, []string{}
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		fields[name], names = v.Field(i), append(names, name)
	}
	for part := range strings.SplitSeq(text, ",") {
		name, column, ok := strings.Cut(part, "=")
		if !ok || column == "" {
			return c, fmt.Errorf("%q; want NAME=COLUMN,…, such as context=document,input=question", part)
		}
		field, known := fields[name]
		if !known {
			hint := "known: " + strings.Join(names, ", ")
			if near := nearest.Name(name, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			return c, fmt.Errorf("%q is no part of a row; %s", name, hint)
		}
		field.SetString(column)
	}
	return c, nil
}
