//go:build !(darwin || freebsd || linux || netbsd)

package kernels

import "errors"

type openBLAS struct{}

func findOpenBLAS(string) (*openBLAS, string, error) {
	return nil, "", errors.New("libraries are not opened at run time on this system")
}

func (*openBLAS) sgemm(*product) {}
