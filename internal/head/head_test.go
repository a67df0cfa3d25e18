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
		got, err := ReadText(path)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if string(got) != tc.want || text != want {
			t.Errorf("%s: %q, %q; want %q, %q", name, got, text, tc.want, want)
		}
	}
	if _, err := ReadText(filepath.Join(t.TempDir(), "absent")); !os.IsNotExist(err) {
		t.Errorf("absent: %v", err)
	}
}
