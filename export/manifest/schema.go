package manifest

import _ "embed"

// SchemaFile is the name of the manifest's JSON schema in an exported folder.
const SchemaFile = "manifest.schema.json"

// JSONSchema is the JSON schema of manifests (draft 2020-12). A test writes it from the
// types of this package.
//
//go:embed manifest.schema.json
var JSONSchema []byte
