package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"eisft/internal/head"
	"eisft/model/hf"
)

// The files of a checkpoint that describe its tokenizer.
const (
	File          = "tokenizer.json"
	ConfigFile    = "tokenizer_config.json"
	TemplateFile  = "chat_template.jinja"
	processorFile = "chat_template.json"
	specialFile   = "special_tokens_map.json"
	pieceFile     = "tokenizer.model"
)

// source is where a model's tokenizer is described: a folder, or a GGUF file that
// has no tokenizer.json beside it.
type source struct {
	dir  string
	gguf *ggufVocabulary // nil: the folder has files
	path string          // of the GGUF file
}

// openSource finds the description of a model's tokenizer.
func openSource(path string) (*source, error) {
	path, err := hf.Resolve(path)
	if err != nil {
		return nil, err
	}
	gguf, _ := hf.FindGGUF(path) // what is wrong with a folder shows when a file is read
	s := &source{dir: path, path: gguf}
	if gguf == path {
		s.dir = filepath.Dir(path)
	}
	if _, err := os.Stat(filepath.Join(s.dir, File)); err == nil || gguf == "" {
		return s, nil
	}
	g, err := hf.OpenGGUF(gguf)
	if err != nil {
		return nil, err
	}
	if err := g.Close(); err != nil { // metadata are copies
		return nil, err
	}
	if s.gguf, err = readGGUF(g.Metadata); err != nil {
		return nil, s.failure(err)
	}
	return s, nil
}

// advice says what to do where a folder has SentencePiece's model alone, as models with
// code of their own have it (BlueLM, InternLM2).
func (s *source) advice() string {
	if _, err := os.Stat(filepath.Join(s.dir, pieceFile)); err != nil || s.gguf != nil {
		return ""
	}
	return fmt.Sprintf("; the folder has %[1]s, which is not read: convert it once with transformers, "+
		"t = AutoTokenizer.from_pretrained(%[2]q, trust_remote_code=True); t.save_pretrained(%[2]q), or, where that writes no %[3]s, "+
		"transformers.convert_slow_tokenizer.LlamaConverter(t).convert().save(%[4]q), and compare the ids of a few texts",
		pieceFile, s.dir, File, filepath.Join(s.dir, File))
}

func (s *source) failure(err error) error {
	return fmt.Errorf("%s: %w; put the model's %s and %s beside the file", s.path, err, File, ConfigFile)
}

// read returns the text of a file and where it stands. A file that is not there is
// fs.ErrNotExist.
func (s *source) read(name string) (text []byte, from string, err error) {
	if s.gguf == nil {
		from = filepath.Join(s.dir, name)
		text, err = head.ReadText(from, head.Vocabulary)
		return text, from, err
	}
	switch name {
	case File:
		text, err = s.gguf.tokenizerJSON()
	case ConfigFile:
		text, err = s.gguf.configJSON()
	default:
		err = fs.ErrNotExist
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = s.failure(err)
	}
	return text, s.path, err
}

// Files returns the files by which Hugging Face describes a model's tokenizer, as far
// as there are any; of a GGUF file, what its metadata say in their form. path is as
// for [Load].
func Files(path string) (map[string][]byte, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range []string{File, ConfigFile, TemplateFile, processorFile, specialFile} {
		text, _, err := s.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	return files, nil
}
