// Package docs holds the documents that the program gives out.
package docs

import _ "embed"

// Runtime is runtime.md: what a host of exported graphs does.
//
//go:embed runtime.md
var Runtime []byte
