// Package htmlpage holds what HTML reports share: their style, and the figures at their head.
package htmlpage

import (
	_ "embed"
	"html/template"
)

//go:embed page.html
var templates string

// Figure is a number in large print, with what it is of.
type Figure struct{ Value, What string }

// Define adds the templates "page style", for a page's style sheet, and "figures", of a list of
// [Figure], to those of a page.
func Define(page *template.Template) *template.Template {
	template.Must(page.New("page").Parse(templates))
	return page
}
