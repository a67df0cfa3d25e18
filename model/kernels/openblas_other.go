//go:build !(darwin || freebsd || linux || netbsd)

package kernels

import "fmt"

type openBLAS struct{ rowPlaces }

func findOpenBLAS(path string) (*openBLAS, string, error) {
	return nil, "", fmt.Errorf("%s: libraries are not opened at run time on this system", path)
}

func (*openBLAS) sgemm(*product) {}

func (*openBLAS) file() string { return "" }
