package manifest_test

import (
	"fmt"

	"eisft/export/manifest"
)

// A manifest of another version is refused with what to do.
func ExampleParse() {
	_, err := manifest.Parse([]byte(`{"schema": 2}`))
	fmt.Println(err)
	// Output: schema: version 2, want 4: export again with this eisft
}
