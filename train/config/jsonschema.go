package config

import (
	"encoding/json"
	"reflect"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/strictyaml"
	"eisft/model"
)

// words are the types that stand for one of a few words.
var words = map[reflect.Type]func() any{
	reflect.TypeFor[model.DType]():     func() any { return model.DTypes() },
	reflect.TypeFor[model.CacheType](): func() any { return model.CacheTypes() },
	reflect.TypeFor[model.Positions](): func() any { return []model.Positions{model.PositionsCompact, model.PositionsAbsolute} },
	reflect.TypeFor[model.Update]():    func() any { return []model.Update{model.MemoryNone, model.MemoryLinear, model.MemoryDelta} },
	reflect.TypeFor[model.Feature]():   func() any { return model.Features() },
	reflect.TypeFor[model.Gate]():      func() any { return model.Gates() },
	reflect.TypeFor[model.Group]():     func() any { return model.Groups },
	reflect.TypeFor[data.Format]():     func() any { return data.Formats() },
	reflect.TypeFor[data.Long]():       func() any { return data.Longs() },
	reflect.TypeFor[data.OnBadRow]():   func() any { return data.OnBadRows() },
	reflect.TypeFor[eval.Policy]():     func() any { return eval.Policies() },
	reflect.TypeFor[Choice]():          func() any { return choices },
	reflect.TypeFor[BaseCache]():       func() any { return baseCaches },
}

// JSONSchema returns the JSON schema (draft 2020-12) of configurations, by which an editor
// completes keys and marks mistakes. It has the keys and types that [Load] checks, and the
// words; what depends on more than one key is Load's alone.
func JSONSchema() ([]byte, error) {
	root := schemaOf(reflect.TypeFor[Config]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "eisft training configuration"
	root["required"] = []string{"model", "data", "stages"}
	text, err := json.MarshalIndent(root, "", "  ")
	return append(text, '\n'), err
}

// schemaOf is the schema of a type's values.
func schemaOf(t reflect.Type) map[string]any {
	if list := words[t]; list != nil {
		return map[string]any{"type": "string", "enum": list()}
	}
	switch {
	case t == reflect.TypeFor[Block]():
		s := sectionOf(t)
		s["properties"].(map[string]any)["preset"] = map[string]any{"type": "string", "enum": model.PresetNames()}
		return s
	case t == reflect.TypeFor[data.Files]():
		path, file := map[string]any{"type": "string"}, sectionOf(reflect.TypeFor[data.File]())
		file["required"] = []string{"path"}
		return map[string]any{"anyOf": []any{path, map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"anyOf": []any{path, file}}}}}
	case t == reflect.TypeFor[data.Share]():
		return map[string]any{"type": []string{"string", "number"}}
	case t == reflect.TypeFor[TemplateOptions]():
		return map[string]any{"type": "object"}
	case t == reflect.TypeFor[Rates]():
		rates := map[string]any{}
		for _, g := range model.Groups {
			rates[string(g)] = map[string]any{"type": "number"}
		}
		return map[string]any{"type": "object", "properties": rates, "additionalProperties": false}
	case t == reflect.TypeFor[Stage]():
		var each []any
		for _, k := range Kinds() {
			s := sectionOf(kinds.Get(k).keys)
			s["properties"].(map[string]any)["kind"] = map[string]any{"const": k}
			s["required"] = []string{"kind"}
			each = append(each, s)
		}
		return map[string]any{"oneOf": each}
	}
	switch t.Kind() {
	case reflect.Struct:
		return sectionOf(t)
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	default:
		return map[string]any{"type": "string"}
	}
}

// sectionOf is the schema of a section with the keys of a struct.
func sectionOf(t reflect.Type) map[string]any {
	types, names := strictyaml.Keys(t)
	properties := map[string]any{}
	for _, name := range names {
		properties[name] = schemaOf(types[name])
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}
