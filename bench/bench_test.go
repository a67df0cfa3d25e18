package bench

import (
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

func demo(t *testing.T) *model.Model {
	t.Helper()
	return modeltest.Open(t, "../model/demo", modeltest.DefaultBlock(t))
}

func TestRun(t *testing.T) {
	m := demo(t)
	r, err := Run(t.Context(), m, Options{Cases: []string{"decode", "export"}, Runs: 1, Scratch: t.TempDir(), BaseDir: "../model/demo"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Cases) != 2 || r.Cases[0].Seconds <= 0 || r.Cases[0].Share <= 0 || r.Cases[0].Tokens != decoded || r.Cases[1].FLOP != 0 {
		t.Errorf("got %+v", r.Cases)
	}
	var text strings.Builder
	if err := r.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); strings.Count(got, "\n") != 4 || !strings.Contains(got, "decode one by one at a full cache") {
		t.Errorf("table:\n%s", got)
	}
}

func TestRunErrors(t *testing.T) {
	m := demo(t)
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{}, "runs is 0; it must be at least 1"},
		{Options{Runs: 1, Cases: []string{"reading"}}, "no case is called reading; there are: stream-forward 8192, "},
	} {
		if _, err := Run(t.Context(), m, tc.o); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}

// TestCounts holds the counts to those of the demo base, written out: D = 256,
// H = 4, K = 2, d = f = 64, 768 feed-forward, 8 layers, 4,096 logits.
func TestCounts(t *testing.T) {
	c := counter{demo(t)}
	const maps, pairs, head = 2 * 256 * (256 + 128 + 128 + 256 + 3*768), 256 * 257 / 2, 2 * 256 * 4096
	const read, write, score = 4 * (2*64*64 + 2*128*65 + 2*64), 2 * (2*64*64 + 2*128*65), 2 * 256 * 2
	attention := func(past int) float64 { return 4 * 4 * 64 * float64(256*past+pairs) }
	segment := func(past int) float64 { return 256*(maps+score) + attention(past) }
	// Sinks and window hold 264 tokens, so 248 leave after the second segment and 256
	// after the third; of 504 candidates the slots keep 256.
	three := segment(0) + segment(256) + segment(8+248+256) + 256*read + 248*write
	soft := segment(0) + segment(256) + segment(512) + 256*read + (248+256)*write
	for _, tc := range []struct {
		name  string
		count func() (need, error)
		want  float64
	}{
		{"forward", func() (need, error) { return c.forward(768, 0, 0) }, 8 * three},
		{"forward for the last 128", func() (need, error) { return c.forward(768, 640, 128) }, 128*head + 7*three + 768*score + 248*write +
			640*2*256*(256+128+128) + 128*(maps+read) + 4*4*64*float64(128*(8+248+256+128)+128*129/2)},
		{"training", func() (need, error) { return c.training(768, 63, true) }, 8*(soft+768*score+2*(248+256)*write+256*maps+2*attention(512)+2*256*read) -
			512*(maps-2*256*(256+128+128)) - attention(0) - attention(256) + 2*63*head},
		{"distillation", func() (need, error) { return c.distillation(1024 + 3) }, 8*(4*256*(maps+2*score)+attention(0)+attention(256)+attention(512)+attention(768)+
			3*(attention(512)+attention(768)+512*read+(248+256)*write)+2*512*2*256*256) - 1024*2*3*256*768},
		{"decoding", func() (need, error) { return c.decoding(8*256, 2) }, 2*head + 8*(2*(maps+score+read)+4*4*64*(521+522))},
	} {
		got, err := tc.count()
		if err != nil || got.flop != tc.want {
			t.Errorf("%s: %.0f, want %.0f (%v)", tc.name, got.flop, tc.want, err)
		}
	}
}
