package shapes_test

import (
	"fmt"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/shapes"
)

// What a phone would do with a base that is not there yet: its config.json is enough.
func Example() {
	c, err := hf.LoadConfig("../demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	base, err := model.NewBase(c, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	block, err := model.Preset("eisft")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := model.New(base, block, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	st := shapes.NewStream(m, shapes.Options{CacheBytes: 1})
	if err := st.Feed(4096, 4095); err != nil {
		fmt.Println(err)
		return
	}
	st.Logits(1)
	prompt := st.Take().Total()
	if err := st.Feed(1, 0); err != nil {
		fmt.Println(err)
		return
	}
	st.Logits(1)
	token := st.Take().Total()
	fmt.Printf("prompt: %.1f billion products\n", float64(prompt.Products())/1e9)
	fmt.Printf("a token: %.1f million products, %.1f MB of weights and %.1f MB of state are read\n",
		float64(token.Products())/1e6, float64(token.Weights)/1e6, float64(token.State)/1e6)
	fmt.Printf("state: %.1f MB\n", float64(st.Held().State)/1e6)
	// Output:
	// prompt: 33.9 billion products
	// a token: 9.9 million products, 15.2 MB of weights and 1.6 MB of state are read
	// state: 1.6 MB
}
