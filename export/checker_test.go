package export_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/manifest"
	"eisft/internal/testfiles"
)

// python returns a Python that has the official ONNX package: $EISFT_PYTHON, or one that is
// installed (Debian's python3-onnx belongs to /usr/bin/python3).
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("EISFT_PYTHON"), "python3", "/usr/bin/python3"} {
		if name != "" && exec.CommandContext(t.Context(), name, "-c", "import onnx").Run() == nil {
			return name
		}
	}
	t.Skip("the official ONNX checker is not there: install python3-onnx, or name a Python that has it with EISFT_PYTHON")
	return ""
}

// checked gives files to the official checker and returns which passed, and what it says of
// others.
func checked(t *testing.T, program string, files []string) (passed, newer, bad []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, append([]string{"testdata/checker.py"}, files...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		verdict, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verdict {
		case "ok":
			passed = append(passed, rest)
		case "opset":
			newer = append(newer, rest)
		default:
			bad = append(bad, rest)
		}
	}
	return passed, newer, bad
}

// TestSlowOfficialChecker: the graphs of every format pass the official ONNX checker with strict
// shape inference, those of an opset that the installed version has; and it finds a graph
// that says another shape.
func TestSlowOfficialChecker(t *testing.T) {
	testfiles.Slow(t)
	program := python(t)
	var files []string
	for name, change := range families {
		m := exporttest.Model(t, exporttest.Block(nil), change)
		for _, format := range []export.Format{export.FormatQDQ, export.FormatEncodings} {
			o := options()
			o.NoVerify, o.Format, o.Quantized = true, format, exporttest.Quantized(t, m)
			o.Precisions = export.Precisions()
			dir := filepath.Join(t.TempDir(), strings.ReplaceAll(name, " ", "-"), string(format))
			info, _, err := export.Export(t.Context(), m, dir, o)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, format, err)
			}
			for _, f := range info.GraphFiles() {
				if filepath.Ext(f) == ".onnx" {
					files = append(files, filepath.Join(dir, f))
				}
			}
		}
	}
	passed, newer, bad := checked(t, program, files)
	for _, b := range bad {
		t.Error(b)
	}
	t.Logf("%d of %d graphs pass; %d have an opset that the installed onnx lacks", len(passed), len(files), len(newer))
	if len(passed) == 0 {
		t.Fatal("none was checked")
	}
	// One that lies about a shape is found.
	lies := filepath.Join(filepath.Dir(passed[0]), "lies.onnx")
	lie(t, passed[0], lies)
	if _, _, bad := checked(t, program, []string{lies}); len(bad) != 1 {
		t.Error("a graph with another shape passes")
	}
	for _, f := range passed {
		if strings.HasSuffix(f, strings.TrimPrefix(manifest.EncodingsSuffix, "+")+".onnx") {
			return
		}
	}
	t.Error("no graph with encodings was checked")
}
