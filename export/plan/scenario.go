package plan

// Scenario is what a program on the device wants.
type Scenario struct {
	Name   string `yaml:"name"`
	Prompt int    `yaml:"prompt"` // tokens
	Answer int    `yaml:"answer"` // tokens
	// FirstToken bounds the seconds until the answer begins, Tokens is the least number of
	// tokens a second after that, Memory the MB that all may take; 0: no bound.
	FirstToken float64 `yaml:"first_token"`
	Tokens     float64 `yaml:"tokens"`
	Memory     int     `yaml:"memory"`
}

// LoadScenario reads a scenario's file: a path, or the name of one in configs/scenarios.
func LoadScenario(name string) (*Scenario, error) {
	s := &Scenario{}
	d, err := load("scenarios", name, s)
	if err != nil {
		return nil, err
	}
	d.Required("name", s.Name)
	d.Within("prompt", s.Prompt, 1, maxPrompt)
	d.Within("answer", s.Answer, 1, maxPrompt)
	d.NotNegative("first_token", s.FirstToken)
	d.NotNegative("tokens", s.Tokens)
	if s.Memory != 0 {
		d.AtLeast("memory", s.Memory, 1)
	}
	return s, d.Err()
}

// maxPrompt is more tokens than anybody waits for.
const maxPrompt = 1 << 22
