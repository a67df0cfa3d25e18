package quant

import "eisft/quant/encoding"

// RoundSeqMSE is AIMET's sequential MSE (aimet_torch/v2/seq_mse.py): layer by layer, each
// channel or block gets the scale with the least squared error of the map's output on
// inputs that the layers before it, quantized, have made. Codes are the nearest ones.
//
// As there, candidates are equal parts of the spanning scale (20 there by default, 30 here),
// inputs are those of the quantized model on both sides of the comparison (its default,
// inp_symmetry "symqt"), a block's error is that of its own part of the output, and channels
// are independent. Different are:
//   - the error is computed from the second moments of all inputs, ΔwHΔwᵀ, and not batch by
//     batch from outputs: the same sum;
//   - activations are rounded to their encodings meanwhile; AIMET turns their quantizers off;
//   - low-power blocks: AIMET looks for scales as if there were no channel scale and then
//     takes the nearest multiples; here each of the 16 multiples is then tried, too;
//   - of equal errors AIMET takes the smallest scale and this the largest: a channel that no
//     sample reaches keeps the scale that spans it;
//   - AIMET leaves out maps of more than 4 bits, the head of most schemes among them.
const RoundSeqMSE = "seqmse"

func seqMSEWants(_ *Recipe, f encoding.Format) want {
	if f.Block > 0 {
		return wantBlocks
	}
	return wantUpper
}

func seqMSE(r *Recipe, m *Map) (encoding.Encoding, error) {
	return m.clip(r.SeqMSE.Candidates, m.Hessian.errors)
}
