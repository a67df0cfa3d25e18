package manifest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"eisft/quant/encoding"
)

var update = flag.Bool("update", false, "write manifest.schema.json anew")

// encodingSchema describes the JSON form of an encoding, which is not that of its Go type.
const encodingSchema = `{
  "type": "object",
  "description": "What codes stand for: number = scale*(code - zero_point). One scale serves the whole tensor, or scales one for each index of axis, or for each block of elements along it.",
  "properties": {
    "bits": {"enum": [4, 8, 16]},
    "signed": {"type": "boolean"},
    "scale": {"type": "number", "exclusiveMinimum": 0},
    "zero_point": {"type": "integer"},
    "scales": {"type": "array", "items": {"type": "number"}},
    "zero_points": {"type": "array", "items": {"type": "integer"}},
    "axis": {"type": "integer", "minimum": 0},
    "block": {"type": "integer", "minimum": 0}
  },
  "additionalProperties": false,
  "required": ["bits", "signed"],
  "oneOf": [{"required": ["scale"]}, {"required": ["scales", "axis"]}]
}`

// values are what a property of a type may be.
var values = map[string]map[string][]any{
	"Manifest": {"positions": {"compact", "absolute"}, "memory_column": {ColumnZero, ColumnLogTokens}},
	"Graph":    {"kind": {PromptGraph, GenerationGraph, CommitGraph}},
	"State":    {"policy": {Append, Replace}},
}

// generated makes the schema from the types and their comments.
func generated(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, Mapper: func(typ reflect.Type) *jsonschema.Schema {
		if typ != reflect.TypeFor[encoding.Encoding]() {
			return nil
		}
		s := &jsonschema.Schema{}
		if err := json.Unmarshal([]byte(encodingSchema), s); err != nil {
			t.Fatal(err)
		}
		return s
	}}
	if err := r.AddGoComments("eisft/export/manifest", "."); err != nil {
		t.Fatal(err)
	}
	for at, text := range r.CommentMap { // the path of the package in the map depends on where it was read
		r.CommentMap["eisft/export/manifest"+at[strings.LastIndex(at, "/")+len("/manifest"):]] = strings.Join(strings.Fields(text), " ")
	}
	s := r.Reflect(&Manifest{})
	s.Title, s.Description = "manifest.json", "Describes a folder that eisft export wrote to the host that runs it; runtime.md says what a host does."
	for name, properties := range values {
		of := s
		if name != "Manifest" {
			of = s.Definitions[name]
		}
		for key, list := range properties {
			p, ok := of.Properties.Get(key)
			if !ok {
				t.Fatalf("%s has no property %s", name, key)
			}
			p.Enum = list
		}
	}
	if p, ok := s.Properties.Get("schema"); ok {
		p.Const = Schema
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// TestSchemaFollowsTypes: the file is what the types say.
func TestSchemaFollowsTypes(t *testing.T) {
	want := generated(t)
	if *update {
		if err := os.WriteFile(SchemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(JSONSchema, want) {
		t.Errorf("%s is not what the types of this package say; write it anew: go test ./export/manifest -run Schema -update", SchemaFile)
	}
}

// validate holds JSON to the schema, with another library than the one that made it.
func validate(t *testing.T, text []byte) error {
	t.Helper()
	schema, err := validator.UnmarshalJSON(bytes.NewReader(JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource(SchemaFile, schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(SchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(doc)
}

// TestSchema: manifests are valid, and what Parse refuses by its form is not.
func TestSchema(t *testing.T) {
	good, err := json.Marshal(manifest())
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, good); err != nil {
		t.Errorf("a manifest is not valid: %v", err)
	}
	for name, change := range map[string]func(m map[string]any){
		"another version":   func(m map[string]any) { m["schema"] = 1 },
		"unknown key":       func(m map[string]any) { m["colour"] = "red" },
		"missing key":       func(m map[string]any) { delete(m, "mask_value") },
		"unknown positions": func(m map[string]any) { m["positions"] = "relative" },
		"wrong type":        func(m map[string]any) { m["features"] = "many" },
		"encoding without scale": func(m map[string]any) {
			m["graphs"].([]any)[0].(map[string]any)["inputs"].([]any)[0].(map[string]any)["encoding"] = map[string]any{"bits": 8, "signed": true}
		},
	} {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if validate(t, text) == nil {
			t.Errorf("%s: the schema takes it", name)
		}
	}
}
