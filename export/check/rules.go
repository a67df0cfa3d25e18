package check

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"eisft/export/tflite"
	"eisft/internal/enum"
)

// RuleName names a rule: "mask-bytes".
type RuleName string

// Rule is one thing that Check asks of graphs.
type Rule struct {
	Name    RuleName // that of its entry
	Targets []Target // whose rule it is; none: every target's
	What    string   // what it asks
	Why     string
	Sources []Source
	// How graphs are held to it: run is for those in ONNX, lite for signatures of TFLite files, and
	// codes for what both encode. Nothing of it: it is checked elsewhere, or, without lite, cannot be
	// said of TFLite.
	run   func(*graph)
	lite  func(*lite, tflite.ReadSignature)
	codes []codesRule
}

// Source is where a rule comes from: a public page, and when it said so.
type Source struct {
	Title, URL string
	Date       string // of what it says; of a page without one, when it was read
}

func (r Rule) appliesTo(t Target) bool {
	return len(r.Targets) == 0 || slices.Contains(r.Targets, t)
}

// Rules lists all rules.
func Rules() []Rule {
	var list []Rule
	for _, name := range rules.Names() {
		r := rules.Get(name)
		r.Name = name
		list = append(list, r)
	}
	return list
}

// FindRule returns the rule of that name.
func FindRule(name string) (Rule, error) {
	r, err := rules.Find(RuleName(name))
	r.Name = RuleName(name)
	return r, err
}

// Explain writes what a rule asks, why, and where that is said.
func (r Rule) Explain(w io.Writer) error {
	targets := "every target"
	if len(r.Targets) > 0 {
		targets = enum.List(r.Targets)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n%s\n%s\n", r.Name, targets, r.What, r.Why)
	for _, s := range r.Sources {
		fmt.Fprintf(&b, "Source: %s", s.Title)
		if s.URL != "" {
			fmt.Fprintf(&b, ", %s", s.URL)
		}
		if s.Date != "" {
			fmt.Fprintf(&b, " (%s)", s.Date)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The names of the rules that are not checked graph by graph, and of the one that reads
// encodings.
const (
	RuleManifest  RuleName = "manifest"
	RuleStates    RuleName = "states"
	RulePoints    RuleName = "points"
	RuleCodes     RuleName = "codes"
	RuleEncodings RuleName = "encodings"
	RuleLoads     RuleName = "loads"
	RuleTokens    RuleName = "float16-tokens"
	RuleTFLite    RuleName = "tflite"
)

// The sources that several rules have.
var (
	contractSource = Source{Title: "docs/graphs.md, section 5, of this project"} // its own choice
	onnxRelease    = Source{
		"ONNX 1.16.0: opset 21 has int4, uint4, int16, uint16 and blocks", "https://github.com/onnx/onnx/releases/tag/v1.16.0", "2024-03-25",
	}
	onnxQuantize = Source{
		"ONNX, QuantizeLinear: scale and zero point have one shape, which is the granularity", "https://onnx.ai/onnx/operators/onnx__QuantizeLinear", "read 2026-11-27",
	}
	protoLimits = Source{
		"Protocol Buffers, proto limits: any proto in serialized form must be below 2 GiB", "https://protobuf.dev/programming-guides/proto-limits", "read 2026-11-27",
	}
	fixedShapes = Source{
		"ONNX Runtime, making dynamic input shapes fixed: NNAPI and Core ML support no dynamic ones", "https://www.onnxruntime.ai/docs/tutorials/mobile/helpers/make-dynamic-shape-fixed.html", "read 2026-11-27",
	}
	maskedRows = Source{
		"PyTorch pull request 131060: rows that are masked as a whole by -inf become NaN", "https://github.com/pytorch/pytorch/pull/131060", "2024-07-18",
	}
	maskValues = Source{
		"Samsung TICO issue 643: the value of a mask under quantization, -120 there, and those to try from -40 on", "https://github.com/Samsung/TICO/issues/643", "read 2026-11-27",
	}
	qairtQuantizer = Source{
		"Qualcomm, qairt-quantizer: fills in tensors that miss encodings", "https://docs.qualcomm.com/bundle/publicresource/80-63442-10/topics/qairt_quantizer.md", "read 2026-11-27",
	}
	htpRules = Source{
		"ExecuTorch, annotation rules for HTP: MatMul", "https://github.com/pytorch/executorch/blob/004c2a671692d319f1bca98e648ded13dbb6546f/backends/qualcomm/quantizer/annotators/htp_rules.py", "read 2026-11-26",
	}
	maskIssue = Source{
		"LiteRT-Torch issue 1184: the HTP applies a mask just over 1 MiB to the wrong rows", "https://github.com/google-ai-edge/litert-torch/issues/1184", "2026-08-23",
	}
	maskChange = Source{
		"LiteRT-Torch pull request 1226: 2 B × num_attention_heads × prefill × (cache_length + prefill)", "https://github.com/google-ai-edge/litert-torch/pull/1226", "2026-09-11",
	}
	neuronTypes = Source{
		"LiteRT, MediaTek Neuron compiler: types, quantization and operations", "https://github.com/google-ai-edge/LiteRT/blob/155113663266538d749788024ea25409f065ffa3/litert/vendors/mediatek/compiler/MediaTek_Neuro_Compiler.md", "read 2026-11-26",
	}
	neuronSDK = Source{
		"MediaTek, Neuron SDK: data types of the MDLA are FP16, INT16 and INT8", "https://mediatek.gitlab.io/aiot/doc/aiot-dev-guide/release/v23.1/sw/yocto/ml-guide/ml-neuron-sdk.html", "read 2026-11-26",
	}
	litertSpec = Source{
		"LiteRT 8-bit quantization specification", "https://ai.google.dev/edge/litert/models/quantization_spec", "read 2026-11-26",
	}
	aimetSpec = Source{
		"AIMET, encoding format specification: LPBQ", "https://github.com/qualcomm/aimet/blob/38dc8929160091015d5099d453f06c5e1b30488a/Docs/techniques/encoding_spec.rst", "read 2026-11-26",
	}
	openVINOModels = Source{
		"OpenVINO, quantized models compute and restrictions", "https://docs.openvino.ai/2024/documentation/openvino-extensibility/openvino-plugin-library/advanced-guides/quantized-models.html", "read 2026-11-26",
	}
	coreMLWeights = Source{
		"Core ML Tools: weights of 4 and 8 bits", "https://apple.github.io/coremltools/source/coremltools.optimize.coreml.quantization.html", "read 2026-11-26",
	}
	coreMLActivations = Source{
		"Core ML Tools: activations of 8 bits run on the Neural Engine from iPhone 15 Pro on", "https://apple.github.io/coremltools/docs-guides/source/opt-quantization-api.html", "read 2026-11-26",
	}
	ortReshape = Source{
		"ONNX Runtime issue 27845: QDQ propagation inserts Q(uint8) around Reshape", "https://github.com/microsoft/onnxruntime/issues/27845", "2026-03-25",
	}
	ortLevels = Source{
		"ONNX Runtime pull request 29192: a type error behind DequantizeLinear from level basic on", "https://github.com/microsoft/onnxruntime/pull/29192", "2026-06-20",
	}
	neuralEngine = Source{
		"Notes on the Neural Engine: numbers far from 1 lose precision in float16, small ones become 0", "https://github.com/michaelbernstein/neural-engine/blob/master/docs/16-bit.md", "read 2026-11-26",
	}
)

// rules are all rules: the contract's first.
var rules = enum.NewTable[RuleName, Rule]("rule").
	With("opset", Rule{
		What: "The file imports ONNX's own domain from opset 17 on, and from 21 on where codes have 4 or 16 bits or blocks.",
		Why:  "Opset 21 is the first whose QuantizeLinear has these types.", Sources: []Source{contractSource, onnxRelease}, run: checkOpset,
	}).
	With("nodes", Rule{
		What: "Every op is one of the subset, reads values that exist by then, and has constant shapes, axes and sizes.",
		Why:  "The subset is what the phone runtimes have in common.", Sources: []Source{contractSource, neuronTypes}, run: checkNodes,
	}).
	With("shapes", Rule{
		What: "Every shape is in the file, static, of rank 4 at most; int64 is for constants alone.",
		Why:  "NPUs compile graphs ahead of time, for one shape.", Sources: []Source{contractSource, fixedShapes}, run: checkShapes,
	}).
	With("constants", Rule{
		What: "The bytes of every constant are there, and small ones are finite.",
		Why:  "A mask of -Inf turns a row without anything to see into NaN.", Sources: []Source{contractSource, maskedRows}, run: checkConstants,
	}).
	With("size", Rule{
		What: "A part and the weights that it refers to stay below 2 GiB.",
		Why:  "A protobuf file cannot be larger, and 32-bit address spaces of NPUs end there.", Sources: []Source{contractSource, protoLimits}, run: checkSize,
	}).
	With("logits-bytes", Rule{
		What: "The logits that a step gives take at most 16 MiB.",
		Why:  "Of all tokens of a prompt, with a vocabulary of 152,000, they take 311 MB a step; only those of the last are needed: --logits last.", Sources: []Source{contractSource}, run: checkLogits, lite: (*lite).checkLogits,
	}).
	With(RuleEncodings, Rule{
		What: "Q and DQ have floats on one side and agree with each other; scales and zero points are constants that fit.",
		Why:  "Converters read encodings from these pairs.", Sources: []Source{contractSource, onnxQuantize}, run: checkEncodings,
	}).
	With("coverage", Rule{
		What: "In a graph with quantized activations every float between two ops passes Q and DQ, but for ops that are marked as kept in float.",
		Why:  "A converter calibrates what has no encoding by itself, silently.", Sources: []Source{contractSource, qairtQuantizer}, run: checkCoverage,
	}).
	With("concats", Rule{
		What: "What a Concat joins, and its result, have one encoding.",
		Why:  "The phone then moves codes and never rescales them.", Sources: []Source{contractSource, litertSpec}, run: checkConcats,
	}).
	With("mask-value", Rule{
		What: "A quantized mask, and the scores with a quantized mask, reach no further than -500.",
		Why:  "One scale serves the whole tensor: at -10000, a step of 16 bits is 0.15 to 0.3, and scores are gone. -50 hides a token as well.", Sources: []Source{contractSource, maskValues}, run: checkMaskValue,
	}).
	With("float16", Rule{
		What: "Where ops stay in float, no ε below 1e-4 is added, no constant is 0 or infinite in float16, and nothing is squared that was not divided or bounded before.",
		Why:  "NPUs compute floats in float16: its least normal number is 6.1e-5, its largest 65504, and the square of 256 is beyond that.", Sources: []Source{contractSource, neuronSDK, neuralEngine}, run: checkFloat16, lite: (*lite).checkFloat16,
	}).
	With(RuleManifest, Rule{
		What: "Files, ports and ops are those that the manifest lists.", Why: "A host drives the graphs by it.", Sources: []Source{contractSource},
	}).
	With(RuleTFLite, Rule{
		What: "A TFLite file has signatures of static shapes, of rank 4 at most, of the ops that this project's graphs have, in float32, int4, int8 and int16, the latter without zero points.",
		Why:  "LiteRT's kernels and MediaTek's compiler have these in common; of 16 bits they take symmetric codes alone.", Sources: []Source{contractSource, litertSpec, neuronTypes},
	}).
	With(RuleStates, Rule{
		What: "A state has one type and one encoding wherever it enters or leaves a graph.", Why: "The host copies its bytes from one to the other.", Sources: []Source{contractSource},
	}).
	With(RulePoints, Rule{
		What: "A point has one encoding, and a weight the same codes, in all graphs of a precision.", Why: "They are one model.", Sources: []Source{contractSource},
	}).
	With(RuleCodes, Rule{
		What: "Every scale, zero point and code is that of the quantized model.", Why: "What was evaluated is what runs.", Sources: []Source{contractSource},
	}).
	With(RuleLoads, Rule{
		What: "ONNX Runtime loads every ONNX graph at its levels disabled, basic, extended and all, and LiteRT every TFLite file.",
		Why:  "From basic on, it moves DequantizeLinear through Reshape and Transpose, and refuses what comes of some int8 graphs.", Sources: []Source{ortReshape, ortLevels},
	}).
	With(RuleTokens, Rule{
		What: "With every float rounded to float16, at least 99 % of the best tokens stay equal, of few all but three, and of quantized graphs two more for each that rounding alone changes against the Go model: an error for qnn, mediatek and coreml and in a folder with float16 graphs, a warning else.",
		Why:  "NPUs store floats in float16.", Sources: []Source{neuronSDK, neuralEngine},
	}).
	With("qnn-matmul-16", Rule{
		Targets: []Target{QNN}, run: matMulOperands,
		What: "Of two 16-bit activations that are multiplied, one is symmetric.",
		Why:  "HTP multiplies 16 by 16 bits from V73 on if the second is signed and symmetric and the first unsigned; else one of them must have 8 bits.", Sources: []Source{htpRules},
	}).
	With("qnn-unsigned", Rule{
		Targets: []Target{QNN}, run: unsigned16,
		What: "16-bit activations have unsigned codes, but for the second operand of a MatMul.",
		Why:  "QNN's ops take 16 bits as UFIXED_POINT_16, and SFIXED_POINT_16 as the symmetric second operand of a MatMul.", Sources: []Source{htpRules},
	}).
	With("mask-bytes", Rule{
		Targets: []Target{QNN}, run: maskSize,
		What: "The mask as it is added to the scores takes at most 1 MiB: 2 bytes × heads × T × (C+T).",
		Why:  "Above, the HTP was seen to apply it to the wrong rows, without an error: 1,048,576 bytes are right, 1,081,344 wrong.", Sources: []Source{maskIssue, maskChange},
	}).
	With("qnn-groups", Rule{
		Targets: []Target{QNN}, run: plainGroups,
		What: "Blocks of weights have scales that are whole multiples, 1 to 16, of one scale for each channel (LPBQ).",
		Why:  "Blocks with scales of their own have no such integer form for HTP, which leaves them to the CPU or to float16.", Sources: []Source{aimetSpec},
	}).
	With("float-share", Rule{
		Targets: []Target{QNN, MediaTek}, run: floatShare,
		What: "In a quantized graph at most a tenth of the multiply-accumulates are in float.",
		Why:  "Float runs at a fraction of the speed of integers on an NPU.", Sources: []Source{contractSource},
	}).
	With("mediatek-split", Rule{
		Targets: []Target{MediaTek}, run: unevenSplit,
		What: "A Split has pieces of equal size.",
		Why:  "An uneven one becomes SPLIT_V in TFLite, which is not on the list of operations; Slice is.", Sources: []Source{neuronTypes},
	}).
	With("mediatek-16", Rule{
		Targets: []Target{MediaTek}, codes: []codesRule{
			{Error, any16, unsigned, "%s codes: MediaTek takes 16 bits as int16 only"},
			{Error, any16, hasZero, "%s with a zero point: MediaTek takes int16 as symmetric only"},
			{Error, any16, perChannel, "%s with several scales: MediaTek takes int16 per tensor only"},
		},
		What: "16-bit codes are int16, symmetric and per tensor.",
		Why:  "Int16 becomes NEURON_TENSOR_QUANT16_SYMM; only per-tensor quantization is supported.", Sources: []Source{neuronTypes},
	}).
	With("mediatek-blocks", Rule{
		Targets: []Target{MediaTek}, codes: []codesRule{{Error, anyTensor, blockwise, "%s in blocks: MediaTek has no blockwise scales"}},
		What: "Nothing has scales in blocks.", Why: "Blockwise quantization is marked as unsupported.", Sources: []Source{neuronTypes},
	}).
	With("litert-signed", Rule{
		Targets: []Target{LiteRT}, codes: []codesRule{{Error, anyTensor, unsigned, "%s codes: LiteRT quantizes to signed types"}},
		What: "Codes are signed.", Why: "LiteRT's tools and kernels are made for int8.", Sources: []Source{litertSpec},
	}).
	With("litert-symmetric", Rule{
		Targets: []Target{LiteRT}, codes: []codesRule{
			{Error, any16, hasZero, "%s with a zero point: LiteRT takes int16 as symmetric only"},
			{Error, weight, hasZero, "%s weights with a zero point: LiteRT's weights are symmetric"},
		},
		What: "16-bit codes and weights have no zero point.", Why: "Weights have a zero point of 0 by the specification.", Sources: []Source{litertSpec, neuronTypes},
	}).
	With("litert-blocks", Rule{
		Targets: []Target{LiteRT}, codes: []codesRule{{Error, anyTensor, blockwise, "%s in blocks: LiteRT's NPU plugins refuse blockwise scales"}},
		What: "Nothing has scales in blocks.", Why: "The compiler plugins of MediaTek and Qualcomm refuse blockwise quantization; LiteRT's GPU runs it.", Sources: []Source{neuronTypes},
	}).
	With("openvino-16", Rule{
		Targets: []Target{OpenVINO}, codes: []codesRule{{Warning, activation16, always, "%s activations: OpenVINO computes them in float; 8 bits, or weights alone in codes, gain more"}},
		What: "Activations have 8 bits or are in float.", Why: "Its plugins have integer kernels for 8 and 4 bits.", Sources: []Source{openVINOModels},
	}).
	With("coreml-16", Rule{
		Targets: []Target{CoreML}, codes: []codesRule{{Warning, any16, always, "%s codes: Core ML has weights of 4 and 8 bits and activations of 8; these run in float16"}},
		What: "Codes have 4 or 8 bits.", Why: "Weights are quantized to 4 or 8 bits, activations to 8.", Sources: []Source{coreMLWeights, coreMLActivations},
	})
