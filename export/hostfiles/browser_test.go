package hostfiles_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export/manifest"
)

// serve serves a folder until the test's end and returns the demo page's address.
func serve(t *testing.T, dir string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "node", "js/serve.mjs", "--port", "0")
	c.Dir = dir
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = c.Wait() // it was killed
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(url)
}

// chromium is a browser's program.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("Chromium is not installed (scripts/fetch-hosts.sh)")
	return ""
}

// TestHostDemoPage: the page reads a long text in headless Chromium and gives the answer
// that the host gives in Node.
func TestHostDemoPage(t *testing.T) {
	slow(t)
	browser := chromium(t)
	m, dir := demo(t, inScheme("w8a16"))
	modules(t, dir)
	script, err := os.ReadFile("testdata/browser.mjs")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "js", "browser.mjs"), script, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("Tom told Anna that the red bag is in the garden. Anna went to the market and bought bread. ", 120)
	const question, most = "Where is the red bag?", "24"
	files := t.TempDir()
	long, prompt := filepath.Join(files, "long.txt"), filepath.Join(files, "prompt.txt")
	for name, text := range map[string]string{long: text, prompt: strings.TrimSpace(text) + "\n\n" + question} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, ok := run(t, dir, "node", "js/run.mjs", "--precision", manifest.Float, "--prompt-file", prompt, "--max-new-tokens", most)
	if !ok {
		t.Fatal(want)
	}
	c := exec.CommandContext(t.Context(), "node", "js/browser.mjs", serve(t, dir), browser, long, question, manifest.Float, most)
	c.Dir = dir
	var log bytes.Buffer
	c.Stderr = &log
	got, err := c.Output()
	if t.Log(log.String()); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(got)) != strings.TrimSpace(want) || strings.TrimSpace(want) == "" {
		t.Errorf("the page's answer is %q, in Node %q", got, want)
	}
	// An answer may end before its first token.
	silent(t, dir, m.Base.Embed.Out)
	if out, ok := run(t, dir, "node", "js/run.mjs", "--prompt", question); !ok || out != "\n" {
		t.Errorf("an empty answer is %q", out)
	}
}

// silent makes every token below some end an answer.
func silent(t *testing.T, dir string, tokens int) {
	t.Helper()
	info, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	info.Text.StopIDs = nil
	for id := range tokens {
		info.Text.StopIDs = append(info.Text.StopIDs, int32(id))
	}
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
}
