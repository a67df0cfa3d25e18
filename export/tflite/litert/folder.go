package litert

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FolderVariable names the environment's variable with the folder that scripts/fetch-litert.sh
// has filled, before all other places.
const FolderVariable = "EISFT_LITERT"

// ErrAbsent is wrapped by the errors of a machine without Node or LiteRT.
var ErrAbsent = errors.New("LiteRT is not there: install Node, run scripts/fetch-litert.sh, or set " + FolderVariable + " to a folder with npm's @litertjs/core")

// folders are where LiteRT is looked for: in the checkout, beside the program, and in the
// user's cache folder.
func folders() []string {
	list := []string{filepath.Join(".cache", "litert")}
	if program, err := os.Executable(); err == nil {
		list = append(list, filepath.Join(filepath.Dir(program), "litert"))
	}
	if cache, err := os.UserCacheDir(); err == nil {
		list = append(list, filepath.Join(cache, "eisft", "litert"))
	}
	return list
}

// description is the file that says that a folder has LiteRT, and its version.
func description(folder string) string {
	return filepath.Join(folder, "node_modules", "@litertjs", "core", "package.json")
}

// Folder returns the folder that Open uses: $EISFT_LITERT, or the first that has LiteRT of
// those where it is looked for. The error lists them.
func Folder() (string, error) {
	list := folders()
	if given := os.Getenv(FolderVariable); given != "" {
		list = []string{given}
	}
	for _, f := range list {
		if _, err := os.Stat(description(f)); err == nil {
			return filepath.Abs(f)
		}
	}
	return "", fmt.Errorf("%w; looked in %s", ErrAbsent, strings.Join(list, ", "))
}

// Version is that of LiteRT for Node, "2.5.3".
func Version() (string, error) {
	folder, err := Folder()
	if err != nil {
		return "", err
	}
	if _, err := exec.LookPath("node"); err != nil {
		return "", fmt.Errorf("%w (%w)", ErrAbsent, err)
	}
	raw, err := os.ReadFile(description(folder))
	if err != nil {
		return "", err
	}
	var said struct{ Version string }
	if err := json.Unmarshal(raw, &said); err != nil {
		return "", fmt.Errorf("%s: %w", description(folder), err)
	}
	return said.Version, nil
}
