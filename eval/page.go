package eval

func (r *Report) writePage(dir string) error { return nil }
