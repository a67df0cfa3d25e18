package eval

import (
	"os"
	"strings"
	"testing"
)

// TestPlan says what is read, what the base sees of it and what there is from before, and
// writes nothing.
func TestPlan(t *testing.T) {
	j := demoJob(t)
	j.Model.Base.Config.MaxPositionEmbeddings = 20
	check := func(want ...string) {
		t.Helper()
		plan, err := j.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var told strings.Builder
		if err := plan.Write(&told); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(told.String(), w) {
				t.Errorf("the plan does not say %q:\n%s", w, &told)
			}
		}
	}
	check("3 rows of "+j.Config.Data.String()+": 4 answers of at most 8 tokens, ", "at once, and was trained on texts of 20: what it writes may be nonsense\n", j.Dir+"\n")
	if _, err := os.Stat(j.Dir); !os.IsNotExist(err) {
		t.Errorf("a plan has made %s: %v", j.Dir, err)
	}
	j.Model.Base.Config.MaxPositionEmbeddings = 2048
	run(t, j)
	check(j.Dir+", which has 6 rows from before\n", "tokens at once\n")
	j.Config.MaxNewTokens = 9
	if _, err := j.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "was begun with other settings") {
		t.Errorf("a plan of other settings in the same folder: %v", err)
	}
}
