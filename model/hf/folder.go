package hf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/internal/head"
)

// Resolve returns the folder or .gguf file that a path to a model means: see [Snapshot].
func Resolve(path string) (string, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() && !isGGUF(path) {
		return "", fmt.Errorf("%s: found a file, want a folder with config.json and weights, or a .gguf file; name the folder that it lies in", path)
	}
	return Snapshot(path)
}

// Snapshot returns the folder that a path to one means. That is the path itself, but for a
// repository's folder in Hugging Face's cache (models--ORG--NAME): of its snapshots/REVISION it
// means the one that refs/main names, or the only one.
func Snapshot(path string) (string, error) {
	snapshots := filepath.Join(path, "snapshots")
	all, err := os.ReadDir(snapshots)
	if err != nil || exists(filepath.Join(path, ConfigFile)) {
		return path, nil //nolint:nilerr // it is no such folder
	}
	var revisions []string
	for _, e := range all {
		if folder, err := os.Stat(filepath.Join(snapshots, e.Name())); err == nil && folder.IsDir() {
			revisions = append(revisions, e.Name())
		}
	}
	main, err := head.Read(filepath.Join(path, "refs", "main"), head.Description)
	switch revision := strings.TrimSpace(string(main)); {
	case err == nil && slices.Contains(revisions, revision):
		return filepath.Join(snapshots, revision), nil
	case len(revisions) == 0:
		return "", fmt.Errorf("%s: found no folder in snapshots, want that of a revision of the model; download it again", path)
	case err == nil:
		return "", fmt.Errorf("%s: found the revision %q in refs/main, but in snapshots only %s; download the model again, or name one of these folders", path, revision, some(revisions))
	case len(revisions) > 1:
		return "", fmt.Errorf("%s: found %d snapshots and no refs/main that names one of them; name the folder of one: snapshots/%s", path, len(revisions), strings.Join(revisions, ", snapshots/"))
	}
	return filepath.Join(snapshots, revisions[0]), nil
}

// noModel says of a folder that lacks what a model needs what it is instead, and what to do.
// want is what was looked for.
func noModel(dir, want string) error {
	found := Describe(dir)
	if found == "" {
		found = "nothing of the kind"
	}
	return fmt.Errorf("%s: want %s, found %s", dir, want, found)
}

// Describe says what a folder is that no model can be read from, and what to do with it; "" if
// nothing is known about it.
func Describe(dir string) string {
	all, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	if len(all) == 0 {
		return "an empty folder"
	}
	if text := describeAdapter(dir); text != "" {
		return text
	}
	var names, checkpoints []string
	for _, e := range all {
		name := e.Name()
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("%s, a link to a file that is not there: the download is not complete, do it again", name)
		}
		if e.IsDir() && exists(filepath.Join(dir, name, ConfigFile)) {
			checkpoints = append(checkpoints, name)
		}
		names = append(names, name)
	}
	for _, kind := range foreignFiles {
		for _, name := range names {
			ok, _ := filepath.Match(kind.pattern, strings.ToLower(name))
			switch {
			case ok && (name == weightsFile || shardName.MatchString(name)):
				return name + " without " + ConfigFile + ": download that, too"
			case ok:
				return name + ", " + kind.text
			}
		}
	}
	if checkpoints != nil {
		return fmt.Sprintf("models in folders of it, %s: name one of them", some(checkpoints))
	}
	return ""
}

// foreignFiles tells by a file's name what a folder is; earlier ones go first.
var foreignFiles = []struct{ pattern, text string }{
	{"*.onnx", "graphs in ONNX, which are not read as a model: take the model that they were exported from, in safetensors"},
	{"consolidated*.pth", "weights in Meta's own form, which is not read since it can run code: take the model in Hugging Face's form, or convert it with transformers' convert_llama_weights_to_hf.py"},
	{"consolidated*.safetensors", "weights in Mistral's own form, whose names and order of rows are others: take the files model*.safetensors of the same model"},
	{"pytorch_model*.bin*", rePickled},
	{"*.bin", rePickled},
	{"*.pth", rePickled},
	{"*.pt", rePickled},
	{"*.ckpt", rePickled},
	{"*.h5", "weights of TensorFlow, which are not read: save the model as safetensors"},
	{"*.msgpack", "weights of Flax, which are not read: save the model as safetensors"},
	{"adapter_model.safetensors", "an adapter of PEFT without its adapter_config.json: merge it into its base (merge_and_unload) and take the folder that this is saved to"},
	{"*.safetensors", "whose name is not that of a model's weights: if it is the whole model, call it " + weightsFile},
}

const rePickled = "which is not read since it can run code: save the model as safetensors (save_pretrained of transformers does)"

// adapterFile is PEFT's description of an adapter.
const adapterFile = "adapter_config.json"

func describeAdapter(dir string) string {
	kind, base := peftAdapter(dir)
	if kind == "" {
		return ""
	}
	return fmt.Sprintf("a PEFT adapter (%s in %s), which is not a model: merge it into %s (merge_and_unload of PEFT, then save_pretrained) and name the folder that this is saved to", kind, adapterFile, base)
}

// peftAdapter returns the kind of the PEFT adapter that a folder describes, "" if it is none,
// and what it belongs to.
func peftAdapter(dir string) (kind, base string) {
	text, err := head.ReadText(filepath.Join(dir, adapterFile), head.Description)
	if err != nil {
		return "", ""
	}
	var c struct {
		Type string `json:"peft_type"`
		Base string `json:"base_model_name_or_path"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return "", ""
	}
	return c.Type, cmp.Or(c.Base, "its base")
}

// BesidePEFT says whether a folder is a whole model in which the description of a PEFT
// adapter was left.
func BesidePEFT(dir string) bool {
	if kind, _ := peftAdapter(dir); kind == "" || !exists(filepath.Join(dir, ConfigFile)) {
		return false
	}
	found, err := filesIn(dir, ".safetensors")
	return err == nil && slices.ContainsFunc(found, func(path string) bool {
		name := filepath.Base(path)
		return name == weightsFile || shardName.MatchString(name)
	})
}
