package config

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"eisft/internal/strictyaml"
)

func template(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../configs/s-sft.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section returns the part of a text from a line that begins with head up to the next one
// that begins with any of the other heads.
func section(t *testing.T, text, head string, ends *regexp.Regexp) string {
	t.Helper()
	_, rest, ok := strings.Cut("\n"+text, "\n"+head)
	if !ok {
		t.Errorf("the template has no %q", head)
	}
	if end := ends.FindStringIndex(rest); end != nil {
		return rest[:end[0]]
	}
	return rest
}

// TestTemplateHasAllKeys: every key of the schema stands in the commented template, in its
// section, as a key or in a comment.
func TestTemplateHasAllKeys(t *testing.T) {
	text, seen := template(t), map[reflect.Type]bool{}
	has := func(part, path string, typ reflect.Type) {
		t.Helper()
		types, names := strictyaml.Keys(typ)
		var all func(prefix string, types map[string]reflect.Type, names []string)
		all = func(prefix string, types map[string]reflect.Type, names []string) {
			for _, name := range names {
				if !regexp.MustCompile(`(^|[^a-z_])` + name + `:`).MatchString(part) {
					t.Errorf("the template does not have %s%s", prefix, name)
				}
				section := types[name]
				if section.Kind() == reflect.Slice {
					section = section.Elem()
				}
				if section.Kind() == reflect.Struct && !seen[section] { // explained once
					seen[section] = true
					inner, innerNames := strictyaml.Keys(section)
					all(prefix+name+".", inner, innerNames)
				}
			}
		}
		all(path, types, names)
	}
	top := regexp.MustCompile(`\n[a-z]+:`)
	config, names := strictyaml.Keys(reflect.TypeFor[Config]())
	for _, name := range names {
		part := section(t, text, name+":", top)
		if config[name].Kind() == reflect.Struct {
			has(part, name+".", config[name])
		}
	}
	list := section(t, text, "stages:", top)
	for _, k := range Kinds() {
		part := "kind:" + section(t, list, "  - kind: "+string(k), regexp.MustCompile(`\n  - kind:`))
		has(part, "stages ("+string(k)+").", kinds.Get(k).keys)
	}
}

// TestJSONSchema: the configurations that come with the program fit the schema, and what Load
// refuses key by key does not.
func TestJSONSchema(t *testing.T) {
	text, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string) error {
		t.Helper()
		var tree any
		if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(j)))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	filled, err := parse(t, small).Text("")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{template(t), small, string(filled)} {
		if err := check(text); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for _, wrong := range []string{
		"sead: 1\n" + small, "seed: a\n" + small, "block: {gate: slut}\n" + small, "block: {preset: nope}\n" + small,
		strings.Replace(small, "s-sft", "s-sft\n    tokens: 3", 1), strings.Replace(small, "s-sft", "sft", 1),
		strings.Replace(small, "s-sft", "s-sft\n    lr: {gat: 3}", 1), "name: x\n",
	} {
		if check(wrong) == nil {
			t.Errorf("the schema takes\n%s", wrong)
		}
	}
}
