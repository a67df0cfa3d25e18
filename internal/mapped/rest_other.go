//go:build !unix

package mapped

func rest([]byte) {}
