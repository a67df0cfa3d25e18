package tokenizer

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	controlStructures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// jinjaEnvironment is what chat templates may use: gonja's filters, tests, statements
// and methods, with Python's behavior where gonja's is another. What reads files, and
// methods that change a list or dict, are left out: gonja changes a copy.
var jinjaEnvironment = sync.OnceValue(func() *exec.Environment {
	return &exec.Environment{
		Context: exec.NewContext(map[string]any{
			"none":         none{},
			"namespace":    global("namespace"),
			"dict":         global("dict"),
			"range":        pythonRange,
			"strftime_now": strftimeNow,
		}),
		Filters:           exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters).Update(exec.NewFilterSet(pythonFilters)),
		Tests:             exec.NewTestSet(map[string]exec.TestFunction{}).Update(builtins.Tests).Update(exec.NewTestSet(pythonTests)),
		ControlStructures: statements("if", "for", "set", "macro", "filter", "with", "break", "continue"),
		Methods: exec.Methods{
			Str:   exec.NewMethodSet(stringMethods()),
			Dict:  exec.NewMethodSet(dictMethods),
			List:  exec.NewMethodSet(map[string]exec.Method[[]any]{}),
			Bool:  builtins.Methods.Bool,
			Int:   builtins.Methods.Int,
			Float: builtins.Methods.Float,
		},
	}
})

func global(name string) any {
	f, _ := builtins.GlobalFunctions.Get(name)
	return f
}

func statements(names ...string) *exec.ControlStructureSet {
	parsers := map[string]parser.ControlStructureParser{}
	for _, name := range names {
		parsers[name], _ = builtins.ControlStructures.Get(name)
	}
	macro := parsers["macro"]
	parsers["macro"] = func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		s, err := macro(p, args)
		if err != nil {
			return nil, err
		}
		return &boundedMacro{s.(*controlStructures.MacroControlStructure)}, nil
	}
	return exec.NewControlStructureSet(parsers)
}

const (
	macroDepth    = "macro depth" // variable of a rendering; no template can name it
	maxMacroDepth = 100
)

// boundedMacro is a macro that fails, rather than exhaust the stack, when macros call
// each other without end.
type boundedMacro struct {
	*controlStructures.MacroControlStructure
}

// Execute defines the macro.
func (m *boundedMacro) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	call, err := exec.MacroNodeToFunc(m.Macro, r)
	if err != nil {
		return err
	}
	v, _ := r.Environment.Context.Get(macroDepth)
	depth := v.(*int)
	r.Environment.Context.Set(m.Name, exec.Macro(func(args *exec.VarArgs) *exec.Value {
		if *depth == maxMacroDepth {
			return exec.AsValue(fmt.Errorf("macro %s: calls are nested more than %d deep", m.Name, maxMacroDepth))
		}
		*depth++
		defer func() { *depth-- }()
		return call(args)
	}))
	return nil
}

// none is Python's None, which a template tells from an undefined value. To gonja it
// is an empty map, and so false.
type none map[string]any

// String returns what Python prints.
func (none) String() string { return "None" }

func isNone(v *exec.Value) bool {
	_, ok := v.Interface().(none)
	return ok
}

var pythonTests = map[string]exec.TestFunction{
	"none":     test(isNone),
	"true":     test(func(v *exec.Value) bool { return v.IsBool() && v.Bool() }),
	"false":    test(func(v *exec.Value) bool { return v.IsBool() && !v.Bool() }),
	"mapping":  test(func(v *exec.Value) bool { return v.IsDict() && !isNone(v) }),
	"iterable": test(func(v *exec.Value) bool { return v.IsIterable() && !isNone(v) }),
	"sequence": test(func(v *exec.Value) bool { return v.IsIterable() && !isNone(v) }),
}

func test(is func(*exec.Value) bool) exec.TestFunction {
	return func(_ *exec.Context, v *exec.Value, _ *exec.VarArgs) (bool, error) { return is(v), nil }
}

// pythonRange returns the numbers of range(stop), range(start, stop) or
// range(start, stop, step), as many as Jinja's sandbox allows.
func pythonRange(args *exec.VarArgs) (any, error) {
	const most = 100000
	start, stop, step := 0, 0, 1
	for _, a := range args.Args {
		if !a.IsInteger() {
			return nil, fmt.Errorf("range: %s is no whole number", a.String())
		}
	}
	switch a := args.Args; len(a) {
	case 1:
		stop = a[0].Integer()
	case 3:
		step = a[2].Integer()
		fallthrough
	case 2:
		start, stop = a[0].Integer(), a[1].Integer()
	default:
		return nil, fmt.Errorf("range: want 1 to 3 numbers, found %d", len(a))
	}
	if step == 0 {
		return nil, fmt.Errorf("range: the step is 0")
	}
	numbers := []any{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(numbers) == most {
			return nil, fmt.Errorf("range: more than %d numbers", most)
		}
		numbers = append(numbers, i)
	}
	return numbers, nil
}

// strftimeNow formats the time of day as Python's strftime does.
func strftimeNow(args *exec.VarArgs) (any, error) {
	if len(args.Args) != 1 || !args.Args[0].IsString() {
		return nil, fmt.Errorf("strftime_now: want one format")
	}
	return strftime(args.Args[0].String(), time.Now())
}

func strftime(format string, now time.Time) (string, error) {
	layouts := map[byte]string{
		'd': "02", 'b': "Jan", 'B': "January", 'm': "01", 'Y': "2006", 'y': "06", 'a': "Mon", 'A': "Monday",
		'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'j': "002", 'z': "", 'Z': "", '%': "%",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		layout, ok := layouts[format[i]]
		if !ok {
			return "", fmt.Errorf("strftime_now: %%%c in %q is not supported", format[i], format)
		}
		b.WriteString(now.Format(layout))
	}
	return b.String(), nil
}
