package head

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadText(t *testing.T) {
	for name, tc := range map[string]struct{ content, want, err string }{
		"plain":        {"{}\n", "{}\n", ""},
		"empty":        {"", "", ""},
		"mark":         {"\xef\xbb\xbf{}", "{}", ""},
		"mark inside":  {"{\xef\xbb\xbf}", "{\xef\xbb\xbf}", ""},
		"short mark":   {"\xef\xbb", "\xef\xbb", ""},
		"utf-16":       {"\xff\xfe{\x00}\x00", "", "found text in UTF-16, want UTF-8: save it as that"},
		"utf-16, big":  {"\xfe\xff\x00{\x00}", "", "found text in UTF-16, want UTF-8: save it as that"},
		"pointer":      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "", "found a Git LFS pointer in the place of the file of 12345 bytes that it stands for: run git lfs pull in its folder, or download the file itself"},
		"half pointer": {"version https://git-lfs.github.com/spec/v1\noid", "", "found a Git LFS pointer in the place of the file that it stands for: run git lfs pull in its folder, or download the file itself"},
		"no pointer":   {"version https://git-lfs.github.com", "version https://git-lfs.github.com", ""},
	} {
		path := filepath.Join(t.TempDir(), "a.json")
		if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
			t.Fatal(err)
		}
		want := ""
		if tc.err != "" {
			want = path + ": " + tc.err
		}
		got, err := ReadText(path, Description)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if string(got) != tc.want || text != want {
			t.Errorf("%s: %q, %q; want %q, %q", name, got, text, tc.want, want)
		}
	}
	if _, err := ReadText(filepath.Join(t.TempDir(), "absent"), Description); !os.IsNotExist(err) {
		t.Errorf("absent: %v", err)
	}
}

// TestRead: what has no end is read through a limit.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path, 5); string(got) != "12345" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := Read(path, 4)
	if want := path + ": found more than 4 bytes, too many for what it should be"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), 4); !os.IsNotExist(err) {
		t.Errorf("got %v for a missing file", err)
	}
}
