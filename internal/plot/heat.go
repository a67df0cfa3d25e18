package plot

import "fmt"

// Heat is a map of numbers from 0 to 1 by row and column.
type Heat struct {
	Title   string
	Columns []Tick // labels below
	Rows    []Tick // labels at the left
	Cells   []Cell
	Grid
}

// Grid says where a map's cells are, in pixels.
type Grid struct {
	NumRows, NumColumns int
	CellWidth           int // of a column, with the gap behind a cell
	CellHeight          int
	Gap, Left           int // Left is the space for labels
}

// Width is that of the whole map.
func (g Grid) Width() int { return g.Left + g.CellWidth*g.NumColumns + 4 }

// Height is that of the whole map.
func (g Grid) Height() int { return g.CellHeight*g.NumRows + 24 }

// InnerWidth is that of a cell.
func (g Grid) InnerWidth() int { return g.CellWidth - g.Gap }

// InnerHeight is that of a cell.
func (g Grid) InnerHeight() int { return g.CellHeight - g.Gap }

// TextX is the middle of a cell.
func (g Grid) TextX() int { return g.CellWidth / 2 }

// LabelX is where labels of rows end.
func (g Grid) LabelX() int { return g.Left - 6 }

// LabelY is the line of the columns' labels.
func (g Grid) LabelY() int { return g.Height() - 6 }

// Cell is a number of a map.
type Cell struct {
	X, Y        int
	Color, Ink  string
	Text, Label string // Label is that of its tooltip
}

// Row labels so many rows from one on.
func (h *Heat) Row(first, rows int, label string) {
	h.Rows = append(h.Rows, Tick{float64(first*h.CellHeight) + float64(rows*h.CellHeight)/2, label})
}

// Column labels a column.
func (h *Heat) Column(i int, label string) {
	h.Columns = append(h.Columns, Tick{float64(h.Left+i*h.CellWidth) + float64(h.CellWidth)/2, label})
}

// Add puts a number into a cell: white at 0, dark blue at 1.
func (h *Heat) Add(column, row int, share float64, text, label string) {
	mix := func(from, to float64) int { return int(from + (to-from)*share) }
	c := Cell{
		X: h.Left + column*h.CellWidth, Y: row * h.CellHeight, Ink: "#222", Text: text, Label: label,
		Color: fmt.Sprintf("#%02x%02x%02x", mix(246, 33), mix(248, 85), mix(252, 140)),
	}
	if share > 0.5 {
		c.Ink = "#fff"
	}
	h.Cells = append(h.Cells, c)
}
