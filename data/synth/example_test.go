package synth_test

import (
	"fmt"
	"math/rand/v2"

	"eisft/data/synth"
)

// The same seed gives the same conversation.
func ExampleGenerate() {
	c := synth.Generate(rand.New(rand.NewPCG(1, 2)), 400, 3)
	for _, line := range c.Lines[:3] {
		fmt.Println(line)
	}
	// Output:
	// Amir: Then it is decided, we meet every Saturday.
	// Zach: We should talk about the renovation some other time.
	// Amir: Leave it to me, I will charge the batteries by Monday.
}
