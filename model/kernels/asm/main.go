// Command asm generates the AVX2 and AVX-512 kernels of package kernels: ../asm_amd64.s and their declarations in
// ../asm_amd64.go. Run it by go generate in ../ after a change. It is a module of its own so that users of the
// toolkit do not depend on the generator.
package main

import "github.com/mmcloughlin/avo/build"

func main() {
	build.ConstraintExpr("!purego")
	elementwiseKernels()
	roundingKernel()
	forEachISA(expKernels)
	forEachISA(gatedKernels)
	normKernels()
	rotateKernel()
	halfKernels()
	gemmKernels()
	wideGemmKernels()
	weightKernels()
	blockKernels()
	build.Generate()
}
