// Runs signatures of a .tflite file in LiteRT, for a program that talks to it through pipes.
// A message is four bytes with the length of a text, little-endian, the text, which is JSON,
// and tensors. A request {"signature": "decode"} is followed by the bytes of the inputs in the
// signature's order, and answered by {} and those of the outputs, or {"error": "..."}. The
// first answer lists the signatures with the sizes of their tensors.
// usage: node server.cjs FOLDER MODEL.tflite     (FOLDER has node_modules/@litertjs/core)
const fs = require('fs'), path = require('path'), vm = require('vm')

const [folder, model] = process.argv.slice(-2)
const wasm = path.join(folder, 'node_modules/@litertjs/core/wasm/')
const script = path.join(wasm, 'litert_wasm_compat_internal.js')
const failures = [] // what LiteRT has logged as errors: a run that fails throws nothing
const list = (n, item) => Array.from({length: n}, (_, i) => item(i))
const vector = v => list(v.size(), i => v.get(i))
const words = e => String(e && e.message || e).slice(0, 2000)

// whole repeats a call that moves a part of the bytes until all are moved; false is the end.
function whole(bytes, call) {
	for (let at = 0; at < bytes.length;) {
		try {
			const n = call(bytes, at, bytes.length - at)
			if (n === 0) return false
			at += n
		} catch (e) {
			if (e.code === 'EOF') return false
			if (e.code !== 'EAGAIN') throw e
			Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
		}
	}
	return true
}
const receive = bytes => whole(bytes, (b, at, n) => fs.readSync(0, b, at, n))
const send = bytes => whole(bytes, (b, at, n) => fs.writeSync(1, b, at, n))

function request() {
	const length = Buffer.alloc(4)
	if (!receive(length)) return null
	const text = Buffer.alloc(length.readUInt32LE())
	return receive(text) ? JSON.parse(text) : null
}

function answer(message, tensors = []) {
	const text = Buffer.from(JSON.stringify(message)), length = Buffer.alloc(4)
	length.writeUInt32LE(text.length)
	for (const part of [length, text, ...tensors]) send(part)
}

async function start() {
	// The script is written for a browser's worker.
	Object.assign(globalThis, {self: globalThis, require, __dirname: wasm, __filename: script})
	vm.runInThisContext(fs.readFileSync(script, 'utf8'), {filename: script})
	const M = await globalThis.ModuleFactory({
		locateFile: f => wasm + f, wasmBinary: fs.readFileSync(wasm + 'litert_wasm_compat_internal.wasm'),
		print: () => {}, printErr: text => { if (text.startsWith('ERROR')) failures.push(text) },
	})
	M.setupLogging?.()
	M.env = M.LiteRtEnvironment.create(null)
	return M
}

function open(M) {
	const bytes = fs.readFileSync(model), at = M._malloc(bytes.length)
	if (at === 0) throw new Error(`there is no memory for ${bytes.length} bytes of ${model}`)
	M.HEAPU8.set(bytes, at)
	const m = M.loadModel(M.env, at, bytes.length)
	const compiled = M.compileModel(M.env, m, {accelerator: 'wasm'})
	const signatures = {}
	for (let i = 0; i < m.getNumSignatures(); i++) {
		const s = m.getSignature(i), ports = (names, type) => vector(names).map((name, j) => ({name, bytes: type(i, j).bytes()}))
		signatures[s.key()] = {
			index: i, inputs: ports(s.inputNames(), (a, b) => m.getInputTensorType(a, b)), outputs: vector(s.outputNames()),
		}
	}
	return {m, compiled, signatures}
}

// tensors makes the buffers of a signature's inputs, once.
function tensors(M, m, s) {
	s.buffers ??= s.inputs.map((_, i) => {
		const type = m.getInputTensorType(s.index, i)
		return M.LiteRtTensorBuffer.createManaged(M.env, M.LiteRtTensorBufferType.HOST_MEMORY, type, type.bytes())
	})
	return s.buffers
}

async function run(M, {m, compiled}, s) {
	const buffers = tensors(M, m, s)
	const given = s.inputs.map(p => Buffer.alloc(p.bytes))
	if (!given.every(receive)) process.exit()
	given.forEach((data, i) => {
		M.HEAPU8.set(data, buffers[i].lock(M.LiteRtTensorBufferLockMode.WRITE))
		buffers[i].unlock()
	})
	failures.length = 0
	const results = await compiled.run(s.index, buffers)
	const made = results.map(r => {
		const at = r.lock(M.LiteRtTensorBufferLockMode.READ), copy = Buffer.from(M.HEAPU8.slice(at, at + r.tensorType().bytes()))
		r.unlock()
		r.delete()
		return copy
	})
	if (failures.length > 0) throw new Error(failures.join('; '))
	return made
}

start().then(async M => {
	const loaded = open(M)
	answer({signatures: loaded.signatures})
	for (let r = request(); r !== null; r = request()) {
		try { answer({}, await run(M, loaded, loaded.signatures[r.signature])) } catch (e) { answer({error: words(e)}) }
	}
}).catch(e => { answer({error: [words(e), ...failures].join('; ').slice(0, 2000)}); process.exitCode = 1 })
