package kernels

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

func gonumGemm(p *product) {
	trans := func(t bool) blas.Transpose {
		if t {
			return blas.Trans
		}
		return blas.NoTrans
	}
	gonum.Implementation{}.Sgemm(trans(p.ta), trans(p.tb), p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb,
		p.beta, p.c, p.ldc)
}
