package export

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"eisft/export/manifest"
	"eisft/internal/atomicfile"
	"eisft/model/chat"
	"eisft/model/hf"
	"eisft/model/tokenizer"
)

// describeText says how text becomes ids and ids text with the files that were copied to
// the export: nothing where the base has no tokenizer.
func (w *writer) describeText() (*manifest.Text, error) {
	if _, err := os.Stat(filepath.Join(w.dir, tokenizer.File)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	tk, err := tokenizer.Load(w.dir)
	if err != nil {
		return nil, err
	}
	config, err := hf.LoadConfig(w.dir)
	if err != nil {
		return nil, err
	}
	text := &manifest.Text{Tokenizer: tokenizer.File}
	if _, err := os.Stat(filepath.Join(w.dir, tokenizer.ConfigFile)); err == nil {
		text.Config = tokenizer.ConfigFile
	}
	template, err := tokenizer.LoadTemplate(w.dir)
	if err != nil && !errors.Is(err, tokenizer.ErrNoTemplate) {
		return nil, err
	}
	if template != nil && len(w.TemplateOptions) > 0 {
		template = template.With(w.TemplateOptions)
		text.TemplateOptions = map[string]json.RawMessage{}
		for _, o := range w.TemplateOptions {
			text.TemplateOptions[o.Name] = o.Value
		}
	}
	text.StopIDs = chat.StopIDs(config, tk, template)
	if template == nil {
		return text, tk.Err()
	}
	text.Template = tokenizer.TemplateFile
	if form, err := chat.FormOf(template); err == nil { // else it is for one question alone
		text.Turn = &manifest.Turn{First: form.First, Next: form.Next, End: form.End}
	}
	return text, errors.Join(tk.Err(), atomicfile.WriteFile(filepath.Join(w.dir, tokenizer.TemplateFile), []byte(template.Source())))
}
