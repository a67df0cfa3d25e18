package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"

	"eisft/data"
	"eisft/model"
	"eisft/train/config"
)

// inputs are the hashes of what a run reads beside its configuration, by their
// keys in it: model.path (the weights), model.path/tokenizer.json, data.train (the rows that are trained on),
// validation.data (those that are held out). A run that goes on with another base or
// other data is neither the one nor the other.
type inputs map[string]string

func readInputs(c *config.Config, base *model.Base) (inputs, error) {
	in := inputs{"model.path": base.Identity()}
	add := func(key string, files data.Files) error {
		sum, err := files.Sum()
		if err == nil {
			in[key] = sum
		}
		return err
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} {
		err := add("model.path/"+name, data.One(filepath.Join(c.Model.Path, name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) { // a GGUF file has them inside
			return nil, err
		}
	}
	if len(c.Eval.Data) == 0 || c.Eval.Data.String() == c.Data.Train.String() { // whose rows have a hash
		return in, nil
	}
	if err := add(evalData, c.Eval.Data); err != nil && !errors.Is(err, fs.ErrNotExist) { // evaluation says so
		return nil, fmt.Errorf("evaluation: %w", err)
	}
	return in, nil
}

// evalData is the key of the file that is evaluated on.
const evalData = "eval.data"

// changed reports an input that is not what text, written by a checkpoint, says of it. A
// checkpoint of an older version says nothing.
func (in inputs) changed(text string) error {
	if text == "" {
		return nil
	}
	then := inputsOf(text)
	if then == nil {
		return fmt.Errorf("inputs: %q is no list of hashes", text)
	}
	all := maps.Clone(in)
	maps.Copy(all, then)
	delete(all, evalData) // nothing of what is trained depends on it
	for _, what := range slices.Sorted(maps.Keys(all)) {
		if then[what] != in[what] {
			return fmt.Errorf("%s: its content has changed since the checkpoint was written (hash %.12s then, %.12s now); go on with what was there, or start a new run, without --resume and --extend",
				what, then[what], in[what])
		}
	}
	return nil
}

// inputsOf reads what a checkpoint says of its inputs, nil if it says nothing.
func inputsOf(text string) (then inputs) {
	_ = json.Unmarshal([]byte(text), &then)
	return then
}
