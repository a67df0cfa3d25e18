// Runs signatures of a .tflite file in LiteRT, for a program that talks to it by lines of JSON:
// {"signature": "decode", "inputs": {"x": "BASE64"}} is answered by {"outputs": {"y": "BASE64"}}
// or {"error": "..."}; the bytes are those of the tensors. The first answer lists the signatures.
// usage: node server.cjs FOLDER MODEL.tflite     (FOLDER has node_modules/@litertjs/core)
const fs = require('fs'), path = require('path'), readline = require('readline'), vm = require('vm')

const [folder, model] = process.argv.slice(-2)
const wasm = path.join(folder, 'node_modules/@litertjs/core/wasm/')
const script = path.join(wasm, 'litert_wasm_compat_internal.js')
const failures = [] // what LiteRT has logged as errors: a run that fails throws nothing
const say = line => process.stdout.write(JSON.stringify(line) + '\n')
const list = v => Array.from({length: v.size()}, (_, i) => v.get(i))

async function start() {
	// The script is written for a browser's worker.
	Object.assign(globalThis, {self: globalThis, require, __dirname: wasm, __filename: script})
	vm.runInThisContext(fs.readFileSync(script, 'utf8'), {filename: script})
	const M = await globalThis.ModuleFactory({
		locateFile: f => wasm + f, wasmBinary: fs.readFileSync(wasm + 'litert_wasm_compat_internal.wasm'),
		print: () => {}, printErr: text => {
			if (text.startsWith('ERROR')) failures.push(text)
			if (process.env.LITERT_LOG) process.stderr.write(text + '\n')
		},
	})
	M.setupLogging?.()
	M.env = M.LiteRtEnvironment.create(null)
	return M
}

function open(M) {
	const bytes = fs.readFileSync(model), at = M._malloc(bytes.length)
	M.HEAPU8.set(bytes, at)
	const m = M.loadModel(M.env, at, bytes.length)
	const compiled = M.compileModel(M.env, m, {accelerator: 'wasm'})
	const signatures = {}
	for (let i = 0; i < m.getNumSignatures(); i++) {
		const s = m.getSignature(i)
		signatures[s.key()] = {index: i, inputs: list(s.inputNames()), outputs: list(s.outputNames())}
	}
	return {m, compiled, signatures}
}

async function run(M, {m, compiled, signatures}, {signature, inputs}) {
	const s = signatures[signature]
	const buffers = s.inputs.map((name, i) => {
		const type = m.getInputTensorType(s.index, i), data = Buffer.from(inputs[name], 'base64')
		if (data.length !== type.bytes()) throw new Error(`input ${name} has ${data.length} bytes, want ${type.bytes()}`)
		const b = M.LiteRtTensorBuffer.createManaged(M.env, M.LiteRtTensorBufferType.HOST_MEMORY, type, type.bytes())
		const at = b.lock(M.LiteRtTensorBufferLockMode.WRITE)
		new Uint8Array(M.HEAPU8.buffer, at, type.bytes()).set(data)
		b.unlock()
		return b
	})
	failures.length = 0
	const results = await compiled.run(s.index, buffers)
	if (failures.length > 0) throw new Error(failures.join('; '))
	const outputs = {}
	s.outputs.forEach((name, i) => {
		const size = results[i].tensorType().bytes(), at = results[i].lock(M.LiteRtTensorBufferLockMode.READ)
		outputs[name] = Buffer.from(M.HEAPU8.slice(at, at + size)).toString('base64')
		results[i].unlock()
		results[i].delete()
	})
	buffers.forEach(b => b.delete())
	return {outputs}
}

const words = e => String(e && e.message || e).slice(0, 2000)
start().then(async M => {
	const loaded = open(M)
	say({signatures: loaded.signatures})
	for await (const line of readline.createInterface({input: process.stdin, crlfDelay: Infinity})) {
		try { say(await run(M, loaded, JSON.parse(line))) } catch (e) { say({error: words(e)}) }
	}
}).catch(e => { say({error: words(e)}); process.exitCode = 1 })
