// Package schedule says what a stream does with which token: how a text is cut into
// stretches, when a short prompt is held back, when a segment is committed and what
// that moves, which stored tokens a layer sees and at which rotary positions. It
// computes with counts of tokens alone and holds no keys, values or weights, so that
// every way to run the block follows the same schedule: model.Stream, the host of
// exported graphs, attention transfer, and what counts operations.
//
// What follows is the whole of it, for those who write a host of their own.
//
// # Places
//
// A layer stores tokens in this order, packed, each part in the order of the text:
//
//	sinks   the first S tokens of the text, kept for ever
//	slots   up to R older tokens, which each KV head chooses for itself
//	window  the last W of the committed tokens that are not sinks
//	recent  the tokens of the segment in progress, not committed yet
//
// A token's place is its index in this order, from 0. S, R, W and the segment's length
// L are [Sizes]; layers may have different ones, but one L. A layer never stores more
// than C = S+R+W+L tokens ([Sizes.Capacity]).
//
// # Counts
//
// Everything follows from two numbers: n, the tokens read, and c, those of them that
// are committed. c is a multiple of L. Of a layer ([Plan.Parts]):
//
//	sinks  = min(S, c)
//	window = min(W, c - sinks)
//	left   = c - sinks - window    have left the window until now
//	slots  = min(R, left)
//	recent = n - c
//
// The left - slots tokens that are no longer stored have been written to the layer's
// memory. While left is 0 nothing has, and the block has no memory term. With soft slots,
// the form that slots are trained in, a layer that has slots keeps all: slots = left, and
// what leaves the window is written as well.
//
// # Reading
//
// A call brings m tokens. If they are the first of the text and m ≤ S+W+L, the prompt
// is short and held: nothing is committed, so that the block is the base model itself
// ([Sequence.Begin]). Then, until all are read ([Sequence.Next]):
//
//  1. A held prompt that has reached S+W+L tokens is held no longer, now that more come.
//  2. While nothing is held and recent ≥ L, a segment is committed ([Sequence.Due],
//     [Sequence.Commit]). After a prompt that was held these may be several.
//  3. The next stretch takes up to L - recent tokens, so that it ends with the segment;
//     of a held prompt, up to L, and none beyond S+W+L. All its tokens are read at once.
//  4. n grows by them ([Sequence.Advance]), and 2. is done again.
//
// How a text is cut into calls therefore does not matter, but for the first call's
// length, which decides whether the prompt is short.
//
// # Commit
//
// A commit makes the segment's L tokens, the oldest of recent, sinks and window. In
// places, with the counts before it and those after it ([Turnover]):
//
//	first      = sinks after it
//	candidates = slots before it + what has left the window with it
//	stay       = slots after it
//
// Places below first are sinks and stay. The places from first on are the candidates:
// the slots, and behind them the tokens that leave the window, which are the oldest
// ones. For each KV head so many of them stay, by [Turnover.Choose]: those with the
// highest rank, of equal ranks the earlier ones, in the order in which they were. The
// rank is the retention score in steps of 1/1024: score·1024 rounded to the nearest integer
// (ties to even), because the last bits of a score differ between machines. Where what a
// token is kept by decays with its age, which is c after the commit less its index in the
// text ([Turnover.Committed]), model.RankAt has the rank. The others
// are written to the memory. What was stored behind the candidates moves up to
// first + stay, and nothing else moves.
//
// # What is seen, and where
//
// A new token sees all that its layer stores and the new tokens up to itself: the places
// 0 to its own. In a layer of the base with a sliding window of w keys it sees the last w
// of these places ([Visible]).
//
// The rotary position of a token is its place with compact positions, and its index in the
// text with absolute ones ([Plan.Position]); a query has the position of its own key. So
// with compact positions stored keys have to be turned anew after a commit (those behind
// the sinks), and with absolute ones never.
package schedule
