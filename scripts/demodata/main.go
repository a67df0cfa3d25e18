// Demodata makes the data sets in data/demo from the conversations of the shared folder:
//
//	go run ./scripts/demodata -from ../shared/data -tokenizer model/demo -to data/demo
//
// See data/demo/README.md for what they are.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"eisft/data"
	"eisft/data/synth"
	"eisft/internal/atomicfile"
	"eisft/model/tokenizer"
)

// chatRow is a row of train.parquet.
type chatRow struct {
	ID       string    `parquet:"_id"`
	Dataset  string    `parquet:"dataset,dict"`
	Messages []message `parquet:"messages,list"`
}

type message struct {
	Role    string `parquet:"role,dict"`
	Content string `parquet:"content"`
}

// longRow is a row of test.parquet and calib.parquet: LongBench's columns and depth.
type longRow struct {
	ID      string   `parquet:"_id"`
	Dataset string   `parquet:"dataset,dict"`
	Context string   `parquet:"context"`
	Input   string   `parquet:"input"`
	Answers []string `parquet:"answers,list"`
	Length  int64    `parquet:"length"`
	Depth   float64  `parquet:"depth"`
}

func main() {
	log.SetFlags(0)
	from := flag.String("from", "../shared/data", "folder with the conversation files")
	base := flag.String("tokenizer", "model/demo", "folder with the demo base's tokenizer")
	to := flag.String("to", "data/demo", "folder to write to")
	flag.Parse()
	if err := run(*from, *base, *to); err != nil {
		log.Fatalf("demodata: %v", err)
	}
}

func run(from, base, to string) error {
	tk, err := tokenizer.Load(base)
	if err != nil {
		return err
	}
	template, err := tokenizer.LoadTemplate(base)
	if err != nil {
		return err
	}
	c := &cutter{tokenizer: tk, encoder: data.NewEncoder(tk, template, maxTokens), random: rand.New(rand.NewPCG(1, 0))}
	if err := convert(from+"/conversations-chat-train.jsonl.gz", to+"/train.parquet", 100, toChat); err != nil {
		return err
	}
	if err := convert(from+"/conversations-test.parquet", to+"/test.parquet", 64, c.cut); err != nil {
		return err
	}
	return convert(from+"/conversations-validation.parquet", to+"/calib.parquet", 64, c.whole)
}

// convert writes what row makes of each sample of a file; a row it has none for is left out.
func convert[T any](from, to string, rowsPerGroup int64, row func(data.Sample) (*T, error)) error {
	source, err := data.Open(filepath.FromSlash(from), data.Options{Prompts: synth.Prompts()})
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	file, err := atomicfile.Create(filepath.FromSlash(to))
	if err != nil {
		return err
	}
	defer file.Abort()
	w := parquet.NewGenericWriter[T](file,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedBestCompression}),
		parquet.MaxRowsPerRowGroup(rowsPerGroup),
		parquet.PageBufferSize(1<<20),
		// Bounds would repeat whole conversations in every page header and in the footer.
		parquet.SkipPageBounds("context"),
		parquet.SkipPageBounds("messages", "list", "element", "content"))
	rows := 0
	for i := range source.Len() {
		sample, err := source.At(i)
		if err != nil {
			return err
		}
		r, err := row(sample)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if _, err := w.Write([]T{*r}); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
		rows++
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	fmt.Printf("%s: %d rows\n", to, rows)
	return file.Commit()
}

func toChat(s data.Sample) (*chatRow, error) {
	r := &chatRow{ID: s.ID, Dataset: s.Dataset}
	for _, m := range s.Messages {
		r.Messages = append(r.Messages, message{Role: m.Role, Content: m.Content})
	}
	return r, nil
}

// The test samples have at most maxTokens tokens with the chat template, which is what
// the demo base was trained on, and a fact less than near or more than far tokens back.
const (
	maxTokens = 2048
	near, far = 250, 600
	nearShare = 0.3
)

// cutter makes LongBench rows of samples, cut to maxTokens.
type cutter struct {
	tokenizer *tokenizer.Tokenizer
	encoder   *data.Encoder
	random    *rand.Rand
}

// whole keeps the conversation as it is. The header of the prompt becomes part of the
// context, so that the default prompt template makes the whole prompt.
func (c *cutter) whole(s data.Sample) (*longRow, error) {
	context, input := split(s)
	return c.row(s, strings.Split(context, "\n"), input), nil
}

func split(s data.Sample) (context, input string) {
	user := s.Messages[0].Content
	at := strings.LastIndex(user, "\n\n")
	return user[:at], user[at+2:]
}

func (c *cutter) row(s data.Sample, lines []string, input string) *longRow {
	context := strings.Join(lines, "\n")
	r := &longRow{ID: s.ID, Dataset: s.Dataset, Context: context, Input: input, Answers: s.Answers, Depth: -1}
	r.Length = int64(c.count(context))
	if s.Fact != "" {
		r.Depth = float64(slices.Index(lines, s.Fact)) / float64(len(lines))
	}
	return r
}

func (c *cutter) count(text string) int { return len(c.tokenizer.Encode(text, false)) }

// cut takes the part of a longer conversation that has the fact at a distance drawn at
// random. It returns nil for a sample without a fact, and where the conversation is too
// short before or after the fact.
func (c *cutter) cut(s data.Sample) (*longRow, error) {
	if s.Fact == "" {
		return nil, nil
	}
	context, input := split(s)
	lines := strings.Split(context, "\n")
	const header = 2 // lines of the prompt before the conversation
	const template = 16
	room := maxTokens - template - c.count(strings.Join(lines[:header], "\n")+"\n\n"+input+s.Answers[0])
	fact := slices.Index(lines, s.Fact) - header
	start, end := c.window(lines[header:], fact, room)
	if start > fact {
		return nil, nil
	}
	lines = append(lines[:header:header], lines[header+start:header+end]...)
	r := c.row(s, lines, input)
	s.Messages = []tokenizer.Message{{Role: "user", Content: r.Context + "\n\n" + input}, s.Messages[1]}
	enc, err := c.encoder.Encode(s)
	if err != nil {
		return nil, err
	}
	if d := enc.Turns[0].Distance; len(enc.IDs) < maxTokens-200 || d >= near && d <= far {
		return nil, nil
	}
	return r, nil
}

// window returns the lines [start, end) of at most room tokens in which the fact's line
// is at a drawn distance from the end.
func (c *cutter) window(lines []string, fact, room int) (start, end int) {
	distance := far + c.random.IntN(room-far)
	if c.random.Float64() < nearShare {
		distance = c.random.IntN(near)
	}
	for end = fact; end < len(lines) && (end == fact || distance > 0); end++ {
		distance -= c.count(lines[end] + "\n")
	}
	for start = end; start > 0; start-- {
		if room -= c.count(lines[start-1] + "\n"); room < 0 {
			break
		}
	}
	return start, end
}
