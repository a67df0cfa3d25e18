// Command neon generates the kernels of package kernels for arm64: ../../asm_arm64.s and their declarations in
// ../../asm_arm64.go. Run it by go generate in ../.. after a change. Its kernels give the bits of those for amd64: a
// vector of eight numbers there is a pair of vectors of four here, and sums are in the same order.
package main

import (
	"flag"
	"log"
	"os"
)

func main() {
	out, stubs := flag.String("out", "", "file for the assembly"), flag.String("stubs", "", "file for the declarations")
	flag.Parse()
	elementwiseKernels()
	roundingKernel()
	expKernels()
	gatedKernels()
	normKernels()
	rotateKernel()
	halfKernels()
	gemmKernels()
	weightKernels()
	blockKernels()
	for name, text := range map[string]string{*out: assembly(), *stubs: declarations()} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
