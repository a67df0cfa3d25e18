package quant

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
	"eisft/quant/encoding"
)

// halfBillion is a base of some layers of Qwen2.5-0.5B's shape, with random bfloat16 weights
// and a vocabulary of the given size, and a block with segments of 512 tokens.
func halfBillion(t testing.TB, layers, vocabulary int) *model.Model {
	t.Helper()
	const hidden, feedForward, heads, kvHeads, headDim = 896, 4864, 14, 2, 64
	dir, random := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	config, err := json.Marshal(map[string]any{
		"architectures": []string{"Qwen2ForCausalLM"}, "model_type": "qwen2", "torch_dtype": "bfloat16",
		"vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": feedForward, "num_hidden_layers": layers,
		"num_attention_heads": heads, "num_key_value_heads": kvHeads, "hidden_act": "silu", "tie_word_embeddings": true,
		"rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 32768, "max_window_layers": layers,
		"sliding_window": 32768, "use_sliding_window": false, "bos_token_id": 0, "eos_token_id": 3,
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []hf.Entry
	add := func(name string, mean, deviation float64, shape ...int) {
		x := make(hf.BF16, shape[0]*append(shape, 1)[1])
		for i := range x {
			x[i] = float32(mean + deviation*random.NormFloat64())
		}
		list = append(list, hf.Entry{Name: name, Shape: shape, Data: x})
	}
	add("model.embed_tokens.weight", 0, 0.02, vocabulary, hidden)
	add("model.norm.weight", 1, 0.1, hidden)
	for i := range layers {
		at := fmt.Sprintf("model.layers.%d.", i)
		layer := func(name string, out, in int, bias bool) {
			add(at+name+".weight", 0, 0.02, out, in)
			if bias {
				add(at+name+".bias", 0, 0.02, out)
			}
		}
		add(at+"input_layernorm.weight", 1, 0.1, hidden)
		add(at+"post_attention_layernorm.weight", 1, 0.1, hidden)
		layer("self_attn.q_proj", heads*headDim, hidden, true)
		layer("self_attn.k_proj", kvHeads*headDim, hidden, true)
		layer("self_attn.v_proj", kvHeads*headDim, hidden, true)
		layer("self_attn.o_proj", hidden, heads*headDim, false)
		layer("mlp.gate_proj", feedForward, hidden, false)
		layer("mlp.up_proj", feedForward, hidden, false)
		layer("mlp.down_proj", hidden, feedForward, false)
	}
	if err := hf.WriteFile(filepath.Join(dir, "model.safetensors"), list, nil); err != nil {
		t.Fatal(err)
	}
	s := modeltest.DefaultBlock(t)
	s.Segment = 512
	return modeltest.Open(t, dir, s)
}

// BenchmarkWalk rounds one layer of Qwen2.5-0.5B's shape on samples of 2,048 tokens: cpu-s is
// the time of all cores together, which other work on the machine disturbs least, and
// peak-MB what is resident at most beyond what was before.
func BenchmarkWalk(b *testing.B) {
	m := halfBillion(b, 1, 256)
	samples := randomSamples(m.Base.Embed.Out, 2048, 2048, 2048)
	for _, f := range weightFormats4 {
		q := pointsOf(b, m, w4(f), samples[0])
		for _, rule := range []string{RoundSeqMSE, RoundGPTQ} {
			b.Run(fmt.Sprintf("%s/%s", strings.ReplaceAll(f.String(), " ", "-"), rule), func(b *testing.B) {
				o := RoundOptions{Recipe: &Recipe{Weights: rule, GPTQ: GPTQ{ActOrder: true, Scales: RoundNearest}}, Samples: again(samples...), Format: formatOf(q.Scheme)}
				before, start := resident(b, "VmRSS:"), cpuTime(b)
				for b.Loop() {
					if err := RoundWeights(b.Context(), m, q, o); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpuTime(b)-start)/float64(b.N), "cpu-s/op")
				b.ReportMetric(float64(resident(b, "VmHWM:")-before)/1e6, "peak-MB")
			})
		}
	}
}

// BenchmarkSeqMSE is how long seqmse takes for all of Qwen2.5-0.5B on 10 samples of 2,048
// tokens, with both kinds of scales: qwen-s is 24 times the seconds of a layer, and those of the
// head's 151,936 rows, of which some are rounded; qwen-cpu-s the same of all cores together,
// which other work on the machine disturbs least, and peak-MB what a layer takes at most.
func BenchmarkSeqMSE(b *testing.B) {
	const layers, vocabulary, rows = 24, 151936, 8192
	m := halfBillion(b, 1, 256)
	var lengths [10]int
	for i := range lengths {
		lengths[i] = 2048
	}
	samples := randomSamples(m.Base.Embed.Out, lengths[:]...)
	hidden := m.Base.Dims.Hidden
	head := &Map{
		Name: HeadName, Matrix: normal(rows*hidden, 0.02), Out: rows, In: hidden, Format: encoding.Format{Bits: 8},
		Hessian: hessianOf(b, normal(2048*hidden, 1), hidden, 0),
	}
	recipe := &Recipe{Weights: RoundSeqMSE, SeqMSE: methodDefaults.SeqMSE}
	for _, f := range []encoding.Format{{Bits: 4}, {Bits: 4, Block: 32, LowPower: true}} {
		q := pointsOf(b, m, w4(f), samples[0])
		b.Run(strings.ReplaceAll(f.String(), " ", "-"), func(b *testing.B) {
			o := RoundOptions{Recipe: recipe, Samples: again(samples...), Format: formatOf(q.Scheme)}
			var wall, cpu float64
			add := func(times float64, work func()) {
				start, before := time.Now(), cpuTime(b)
				work()
				wall, cpu = wall+times*time.Since(start).Seconds(), cpu+times*(cpuTime(b)-before)
			}
			before := resident(b, "VmRSS:")
			for b.Loop() {
				add(layers, func() {
					if err := RoundWeights(b.Context(), m, q, o); err != nil {
						b.Fatal(err)
					}
				})
				b.ReportMetric(float64(resident(b, "VmHWM:")-before)/1e6, "peak-MB")
				add(vocabulary/float64(rows), func() { rounded(b, recipe, head) })
			}
			b.ReportMetric(wall/float64(b.N), "qwen-s")
			b.ReportMetric(cpu/float64(b.N), "qwen-cpu-s")
		})
	}
}

// cpuTime returns the seconds that the process has computed.
func cpuTime(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// resident returns the bytes that are resident, or were at most since it was last called; 0
// where the system does not tell. It gives back what is free.
func resident(b *testing.B, what string) int64 {
	b.Helper()
	if what == "VmRSS:" {
		debug.FreeOSMemory()
	}
	bytes := status(b, what)
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return bytes
}

// status reads bytes that Linux tells of this process, 0 elsewhere.
func status(t testing.TB, what string) int64 {
	t.Helper()
	text, _ := os.ReadFile("/proc/self/status")
	var kib int64
	if _, rest, ok := strings.Cut(string(text), what); ok {
		_, _ = fmt.Sscan(rest, &kib)
	}
	return kib << 10
}
