package jinja

// expr is a node of an expression.
type expr interface {
	eval(s *scope) (Value, error)
}

// line of a node.
type line = int

type (
	constExpr struct {
		at    line
		value Value
	}
	nameExpr struct {
		at   line
		name string
	}
	// capturedExpr is what a {% set %} or {% filter %} block has written.
	capturedExpr struct{ at line }
	tupleExpr    struct {
		at    line
		items []expr
		comma bool
	}
	listExpr struct {
		at    line
		items []expr
	}
	dictExpr struct {
		at           line
		keys, values []expr
	}
	condExpr struct {
		at                    line
		cond, then, otherwise expr // otherwise may be nil
	}
	logicExpr struct {
		at          line
		or          bool
		left, right expr
	}
	notExpr struct {
		at line
		of expr
	}
	compareExpr struct {
		at    line
		first expr
		ops   []string
		rest  []expr
	}
	binaryExpr struct {
		at          line
		op          string
		left, right expr
	}
	concatExpr struct {
		at    line
		parts []expr
	}
	signExpr struct {
		at  line
		neg bool
		of  expr
	}
	attrExpr struct {
		at   line
		of   expr
		name string
	}
	itemExpr struct {
		at  line
		of  expr
		key expr
	}
	sliceExpr struct {
		at     line
		of     expr
		bounds [3]expr // start, stop, step; each may be nil
	}
	callExpr struct {
		at   line
		of   expr
		args argList
	}
	filterExpr struct {
		at    line
		of    expr
		name  string
		args  argList
		apply filterFunc // nil: unknown
	}
	testExpr struct {
		at    line
		of    expr
		name  string
		args  argList
		apply testFunc // nil: unknown
	}
)

// argList are the arguments of a call as they are written.
type argList struct {
	exprs  []expr
	rest   expr // *rest
	names  []string
	values []expr
	named  expr // **named
}
