package inspect_test

import (
	"context"
	"fmt"

	"eisft/inspect"
)

// What a folder holds, without being told.
func ExamplePath() {
	report, err := inspect.Path(context.Background(), "../model/demo", inspect.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Kind)
	for _, f := range report.Facts[:4] {
		fmt.Println(f.Name, f.Value)
	}
	// Output:
	// model
	// architecture LlamaForCausalLM
	// layers 8
	// hidden size 256
	// heads 4
}
