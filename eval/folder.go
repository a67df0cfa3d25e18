package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/internal/atomicfile"
	"eisft/internal/head"
)

// The files of an evaluation's folder.
const (
	SettingsFile = "settings.json"
	RecordsFile  = "records.jsonl" // a line a conversation, policy and seed, written as they come
	PageFile     = "report.html"   // to look at, with plots, in one file
	lockFile     = ".lock"         // held by the process that writes records
)

// mostRecords bounds a file of records, in bytes: a hundred thousand long answers.
const mostRecords = 4 << 30

// Kept is an evaluation as its folder holds it.
type Kept struct {
	Dir      string
	Settings Settings
	Records  []Record
	whole    int // bytes of RecordsFile that records take
}

// ReadKept reads an evaluation's folder. What a process that was killed has left of a record
// is passed over.
func ReadKept(dir string) (*Kept, error) {
	k := &Kept{Dir: dir}
	path := filepath.Join(dir, SettingsFile)
	text, err := head.Read(path, head.Description)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no evaluation's folder: it has no %s: %w", dir, SettingsFile, err)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &k.Settings); err != nil {
		return nil, fmt.Errorf("%s: not valid JSON: %w", path, err)
	}
	if err := k.Settings.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	path = filepath.Join(dir, RecordsFile)
	text, err = head.Read(path, mostRecords)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if k.Records, k.whole, err = ParseRecords(text); err != nil {
		return nil, fmt.Errorf("%s: %w; the file was edited or is damaged: remove the line, and the same command answers the row again", path, err)
	}
	return k, nil
}

// of are the records of a reading and a seed by their rows.
func (k *Kept) of(p Reading, seed int) map[int]Record {
	rows := map[int]Record{}
	for _, r := range k.Records {
		if r.Reading == p && r.Seed == seed {
			rows[r.Row] = r
		}
	}
	return rows
}

// Report is what the records of the rows, policies and budgets that were asked for last say so far, with
// what policies have more than one of them, on the questions and texts of both; "": nothing is
// compared.
func (k *Kept) Report(against Policy) *Report {
	s, asked := k.Settings, *k
	asked.Records = slices.DeleteFunc(slices.Clone(k.Records), func(r Record) bool {
		return s.Samples > 0 && r.Row >= s.Samples || !slices.Contains(readings(s.Policies, s.Budgets), r.Reading)
	})
	k = &asked
	r := &Report{Settings: &k.Settings, Results: k.results()}
	for _, result := range r.Results {
		result.score()
	}
	r.divide()
	texts := k.texts()
	if against != "" && slices.ContainsFunc(r.Results, func(s *Result) bool { return s.Policy == against }) {
		r.compare(against)
	}
	for _, t := range texts {
		r.Texts = append(r.Texts, t.sum(t.against(against, texts)))
	}
	return r
}

// folder is an evaluation's folder that records are written into.
type folder struct {
	Kept
	lock *atomicfile.Lock
	file *os.File
}

// openFolder begins an evaluation's folder, or goes on with one that was made with the same
// settings. Nobody else may write into it meanwhile.
func openFolder(dir string, s *Settings) (_ *folder, err error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f := &folder{Kept: Kept{Dir: dir}}
	f.lock, err = atomicfile.TakeLock(filepath.Join(dir, lockFile))
	if errors.As(err, new(*atomicfile.LockedError)) {
		return nil, fmt.Errorf("%s is being written: %w; wait until that has ended, or name another folder with --out", dir, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	k, err := readBegun(dir, s)
	if err != nil {
		return nil, err
	}
	if k != nil {
		f.Kept = *k
	}
	f.Settings = *s
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, SettingsFile), append(text, '\n')); err != nil {
		return nil, err
	}
	return f, f.openRecords()
}

// readBegun reads what a folder has from before, nil if nothing; it must be of the same settings.
func readBegun(dir string, s *Settings) (*Kept, error) {
	k, err := ReadKept(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if d := s.differences(&k.Settings); len(d) > 0 {
		return nil, fmt.Errorf("%s was begun with other settings: %s; go on with what was there, or name another folder with --out", dir, strings.Join(d, "; "))
	}
	return k, nil
}

// checkFolder refuses a folder that holds something else than an evaluation.
func checkFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	foreign := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == SettingsFile:
			return nil
		case !strings.HasPrefix(name, "."): // locks, and what a killed process has left
			foreign = name
		}
	}
	if foreign != "" {
		return fmt.Errorf("%s is no evaluation's folder: it has %s and no %s; name another one with --out", dir, foreign, SettingsFile)
	}
	return nil
}

// openRecords opens the file of records behind its last whole line.
func (f *folder) openRecords() error {
	file, err := os.OpenFile(filepath.Join(f.Dir, RecordsFile), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	f.file = file
	return f.cut()
}

// cut drops what follows the last whole record.
func (f *folder) cut() error {
	if err := f.file.Truncate(int64(f.whole)); err != nil {
		return err
	}
	_, err := f.file.Seek(int64(f.whole), io.SeekStart)
	return err
}

// keep writes a record. It is on disk when keep returns.
func (f *folder) keep(r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = f.file.Write(append(line, '\n'))
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		return errors.Join(err, f.cut())
	}
	f.Records, f.whole = append(f.Records, r), f.whole+len(line)+1
	return nil
}

func (f *folder) close() {
	if f.file != nil {
		_ = f.file.Close() // keep has synced every record
	}
	f.lock.Release()
}
