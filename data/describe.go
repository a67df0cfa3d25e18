package data

// The forms of rows, as [Source.Form] names them.
const (
	FormChat      = "chat"      // column messages
	FormLongBench = "LongBench" // columns context, input, answers
	FormText      = "text"      // column text
)

// Form says what the rows of the file are.
func (s *Source) Form() string {
	switch {
	case s.form.has(messagesCell):
		return FormChat
	case s.form.has(textCell):
		return FormText
	default:
		return FormLongBench
	}
}

// Columns lists the columns of the first row, whether they are read or not.
func (s *Source) Columns() ([]string, error) { return s.table.columns() }
