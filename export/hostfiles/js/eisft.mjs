// A host of graphs that eisft export wrote, in one module without dependencies: it is
// given ONNX Runtime (onnxruntime-node or onnxruntime-web) and a way to read the folder's
// files, takes token ids and gives logits. What it does is runtime.md, whose sections it
// names; golden.mjs holds it to the folder's golden vectors.

// The types of ports and files: their arrays, and the codes that there are.
const TYPES = {
  float32: { array: Float32Array },
  float16: { array: Uint16Array },
  int8: { array: Int8Array, low: -128, high: 127 },
  uint8: { array: Uint8Array, low: 0, high: 255 },
  int16: { array: Int16Array, low: -32768, high: 32767 },
  uint16: { array: Uint16Array, low: 0, high: 65535 },
  int32: { array: Int32Array },
};

// roundEven rounds to the nearest whole number, halves to the even one.
export function roundEven(x) {
  const low = Math.floor(x), rest = x - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

const floatBits = new Float32Array(1), intBits = new Uint32Array(floatBits.buffer);

// toHalf gives the bits of the float16 that is nearest to x, ties to even.
export function toHalf(x) {
  floatBits[0] = x;
  const bits = intBits[0], sign = (bits >>> 16) & 0x8000, size = Math.abs(floatBits[0]);
  if (Number.isNaN(size)) return sign | 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24);
  const exponent = ((bits >>> 23) & 0xff) - 127;
  return sign | (((exponent + 14) << 10) + roundEven(size / 2 ** exponent * 1024));
}

// fromHalf gives the number of a float16's bits.
export function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >>> 10) & 31, part = bits & 1023;
  if (exponent === 0) return sign * part * 2 ** -24;
  if (exponent === 31) return part ? NaN : sign * Infinity;
  return sign * (1 + part / 1024) * 2 ** (exponent - 15);
}

// Codec turns numbers into the elements of a port and back (runtime.md, section 3).
class Codec {
  constructor(port) {
    this.type = TYPES[port.dtype];
    if (!this.type) throw new Error(`${port.name}: ports of ${port.dtype} are not known; want one of ${Object.keys(TYPES).join(", ")}`);
    this.half = port.dtype === "float16";
    this.encoding = port.encoding;
    this.name = port.name;
    if (this.encoding) this.zero = this.encoding.zero_point ?? 0;
  }
  scale() {
    if (this.encoding.scale === undefined) throw new Error(`${this.name}: it has several scales; its codes can only be copied`);
    return this.encoding.scale;
  }
  element(x) {
    if (this.half) return toHalf(x);
    if (!this.encoding) return x;
    const steps = Math.fround(Math.fround(x) / Math.fround(this.scale()));
    return Math.min(Math.max(roundEven(steps), this.type.low - this.zero), this.type.high - this.zero) + this.zero;
  }
  number(element) {
    if (this.half) return fromHalf(element);
    return this.encoding ? Math.fround(this.scale() * (element - this.zero)) : element;
  }
  plain() { return !this.half && !this.encoding; }
  numbers(elements) { return this.plain() ? elements : Float32Array.from(elements, (e) => this.number(e)); }
}

// Port is an input or output of a graph with its values, which stay in place from run to run.
class Port {
  constructor(listed, ort, data) {
    this.listed = listed;
    this.codec = new Codec(listed);
    this.data = data ?? new this.codec.type.array(listed.shape.reduce((a, b) => a * b, 1));
    this.tensor = ort && new ort.Tensor(listed.dtype, this.data, listed.shape);
  }
  put(numbers, at = 0) {
    if (this.codec.plain()) return void this.data.set(numbers, at);
    for (let i = 0; i < numbers.length; i++) this.data[at + i] = this.codec.element(numbers[i]);
  }
}

// Graph is a loaded graph: one part, or several that run one after another (runtime.md, section 1).
class Graph {
  constructor(listed, sessions) {
    this.listed = listed;
    this.sessions = sessions;
  }
  port(side, role, layer) {
    const found = this.listed[side].find((p) => p.role === role && (p.layer ?? -1) === (layer ?? -1));
    if (!found && side === "inputs") throw new Error(`graph ${this.listed.name} has no input with the role ${role}`);
    return found;
  }
}

// safetensors reads a file: the name of each tensor with its type, shape and elements.
export function safetensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const arrays = { F32: Float32Array, F16: Uint16Array, BF16: Uint16Array, I8: Int8Array, U8: Uint8Array, I16: Int16Array, U16: Uint16Array, I32: Int32Array };
  const out = {};
  for (const [name, t] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (!arrays[t.dtype]) throw new Error(`tensor ${name}: type ${t.dtype} is not known`);
    const [from, to] = t.data_offsets.map((o) => 8 + length + o);
    const part = bytes.slice(from, to);
    out[name] = { dtype: t.dtype, shape: t.shape, data: new arrays[t.dtype](part.buffer, part.byteOffset, part.byteLength / arrays[t.dtype].BYTES_PER_ELEMENT) };
  }
  return out;
}

// ofScheme is what the manifest says of quantized graphs, nothing where the precision is
// another one.
function ofScheme({ quantization: q }, precision) {
  return q && precision.replace(/\+encodings$/, "") === q.scheme ? q : {};
}

// open loads the graphs of a shape and a precision (the first shape, and the last precision,
// which is a quantized one where there is one). source.read(name) gives a file's bytes;
// source.path(name), where it is there, the path from which a session can be made.
export async function open(source, ort, { shape, precision, session = {} } = {}) {
  const manifest = JSON.parse(new TextDecoder().decode(await source.read("manifest.json")));
  const chosen = manifest.shapes.find((s) => !shape || s.name === shape);
  if (!chosen) throw new Error(`there is no shape ${shape}; the folder has ${manifest.shapes.map((s) => s.name).join(", ")}`);
  const precisions = [...new Set(manifest.graphs.map((g) => g.precision))];
  precision ??= precisions.at(-1);
  const graphs = {};
  session = { ...session, extra: { ...session.extra, session: { qdq_matmulnbits_accuracy_level: "1", ...session.extra?.session } } }; // runtime.md, section 1
  const weights = source.path || !manifest.files.some((f) => f.name === "weights.bin") ? null : await source.read("weights.bin");
  for (const listed of manifest.graphs) {
    if (listed.shape !== chosen.name || listed.precision !== precision) continue;
    const sessions = [];
    for (const { file } of listed.parts) {
      sessions.push(source.path
        ? await ort.InferenceSession.create(source.path(file), session)
        : await ort.InferenceSession.create(await source.read(file), { ...session, externalData: weights ? [{ path: "weights.bin", data: weights }] : [] }));
    }
    graphs[listed.kind] = new Graph(listed, sessions);
  }
  if (!graphs.prompt || !graphs.generation) throw new Error(`there are no graphs in ${precision}; the folder has ${precisions.join(", ")}`);
  if (manifest.features > 0 && !graphs.commit) throw new Error("there is a memory, but no commit graph");
  const embeddings = ofScheme(manifest, precision).embeddings || manifest.embeddings;
  const tensors = embeddings ? safetensors(await source.read(embeddings)) : {};
  const table = embeddings ? { ...tensors["model.embed_tokens.weight"], scales: tensors["model.embed_tokens.weight.scale"]?.data } : null;
  return new Model(manifest, chosen, precision, graphs, table, ort);
}

// Model is an exported model of one shape and precision.
class Model {
  constructor(manifest, shape, precision, graphs, table, ort) {
    Object.assign(this, { manifest, shape, precision, graphs, table, ort });
    const { s: S, r: R, w: W, l: L } = shape;
    this.short = S + W + L;
    this.mask = ofScheme(manifest, precision).mask_value || manifest.mask_value;
    this.scale = Math.fround(manifest.memory_scale ?? 1);
    this.empty = manifest.empty_memory_tokens ?? 1000;
    this.layers = graphs.generation.listed.inputs.filter((p) => p.role === "key").length;
    [this.heads, , this.headDim] = graphs.generation.port("inputs", "key", 0).shape;
    this.vocabulary = graphs.generation.port("outputs", "logits").shape[2];
    this.absolute = manifest.positions === "absolute";
    this.decay = !!manifest.retention_decay;
    this.gated = !!graphs.generation.port("outputs", "write", 0);
    this.kinds = manifest.kinds.map((k) => ({ ...k, sizes: { S, R: k.slotless ? 0 : R, W, L }, frequencies: Float32Array.from(k.rope?.inv_freq ?? []) }));
    this.kindOf = [];
    for (const k of this.kinds) for (const l of k.layers) this.kindOf[l] = k;
    this.rows = table?.shape[0] ?? this.vocabulary;
  }
  stream() { return new Stream(this); }
  // row is a token's row of the table, as numbers.
  row(id) {
    const width = this.table.shape[1], part = this.table.data.subarray(id * width, (id + 1) * width);
    switch (this.table.dtype) {
      case "F32": return part;
      case "F16": return Float32Array.from(part, fromHalf);
      case "BF16": return Float32Array.from(part, (b) => ((intBits[0] = b << 16), floatBits[0]));
      default: {
        if (!this.table.scales) throw new Error(`embeddings of ${this.table.dtype} need a scale for each row`);
        const scale = this.table.scales[id];
        return Float32Array.from(part, (code) => code * scale);
      }
    }
  }
}

// parts counts what a layer of a kind stores (runtime.md, section 4).
export function parts({ S, R, W }, read, committed) {
  const sinks = Math.min(S, committed), window = Math.min(W, committed - sinks);
  const left = committed - sinks - window, slots = Math.min(R, left), recent = read - committed;
  return { sinks, slots, window, recent, left, stored: sinks + slots + window + recent };
}

// rank is what slots are chosen by (runtime.md, section 7).
export function rank(score) {
  if (Number.isNaN(score)) return -(2 ** 30);
  return roundEven(1024 * Math.max(-(2 ** 20), Math.min(2 ** 20, score)));
}

// lossOf is -log β with β = σ(score) (runtime.md, section 7).
const lossOf = (score) => Math.log1p(Math.exp(-Math.abs(score))) + Math.max(-score, 0);

// rotary writes the tables of consecutive positions [n,m].
function rotary(kind, from, n) {
  const f = kind.frequencies, m = f.length, scale = Math.fround(kind.rope.attention_scale);
  const cos = new Float32Array(n * m), sin = new Float32Array(n * m);
  for (let t = 0; t < n; t++) {
    for (let i = 0; i < m; i++) {
      const angle = Math.fround(Math.fround(from + t) * f[i]);
      cos[t * m + i] = Math.fround(Math.cos(angle)) * scale;
      sin[t * m + i] = Math.fround(Math.sin(angle)) * scale;
    }
  }
  return { cos, sin };
}

// Stream reads one text.
class Stream {
  constructor(model) {
    this.model = model;
    this.read = 0; // n
    this.committed = 0; // c
    this.held = false;
    const { graphs, ort, kinds } = model;
    this.inputs = {};
    for (const [kind, graph] of Object.entries(graphs)) {
      this.inputs[kind] = {};
      for (const p of graph.listed.inputs) {
        const state = ["key", "value", "memory", "memory_mass"].includes(p.role) && kind !== "commit" || ["memory", "memory_mass"].includes(p.role) || p.role.startsWith("cache_");
        const shared = state ? this.inputs.prompt?.[p.name]?.data : undefined;
        this.inputs[kind][p.name] = new Port(p, ort, shared);
      }
    }
    this.layers = [];
    for (let i = 0; i < model.layers; i++) {
      const C = graphs.prompt.port("inputs", "key", i).shape[3], kind = model.kindOf[i];
      this.layers.push({
        C, kind,
        keys: this.input("prompt", "key", i), values: this.input("prompt", "value", i),
        score: kind.sizes.R > 0 || model.gated ? new Float32Array(model.heads * C) : null,
        token: new Int32Array(model.heads * C),
      });
    }
    if (model.absolute) return;
    for (const k of kinds.filter((k) => k.frequencies.length)) {
      for (const kind of ["prompt", "generation"]) {
        const { cos, sin } = rotary(k, 0, this.layers[k.layers[0]].C);
        this.input(kind, "cache_cos" + k.suffix).put(cos);
        this.input(kind, "cache_sin" + k.suffix).put(sin);
      }
    }
  }
  input(graph, role, layer) { return this.inputs[graph][this.model.graphs[graph].port("inputs", role, layer).name]; }
  parts(kind) { return parts(kind.sizes, this.read, this.committed); }
  // written is how many tokens the memory has taken up, in the layers where these are most.
  written() {
    if (!this.model.graphs.commit) return 0;
    return Math.max(...this.model.kinds.map((k) => { const p = this.parts(k); return p.left - p.slots; }));
  }
  slots(layer) {
    const l = this.layers[layer], p = this.parts(l.kind), out = [];
    for (let h = 0; h < this.model.heads; h++) out.push(Array.from(l.token.subarray(h * l.C + p.sinks, h * l.C + p.sinks + p.slots)));
    return out;
  }
  // memory returns a layer's memory as means.
  memory(layer) {
    if (!this.model.graphs.commit) return null;
    const [memory, mass] = ["memory", "memory_mass"].map((role) => {
      const p = this.input("prompt", role, layer);
      return Float32Array.from(p.codec.numbers(p.data), (x) => x / this.model.scale);
    });
    return { memory, mass };
  }

  // feed reads tokens and returns the logits after the last one (runtime.md, section 5).
  async feed(ids) {
    const { short, shape, rows } = this.model;
    for (const id of ids) if (!(id >= 0 && id < rows)) throw new Error(`token ${id} is not in the vocabulary of ${rows} entries`);
    if (ids.length === 0) throw new Error("there is nothing to read");
    if (this.read === 0) this.held = ids.length <= short;
    let logits = null;
    for (let done = 0; done < ids.length;) {
      if (this.held && this.read >= short) this.held = false;
      await this.commit();
      const room = this.held ? Math.min(shape.l, short - this.read) : shape.l - (this.read - this.committed);
      const n = Math.min(room, ids.length - done);
      logits = await this.stretch(ids.slice(done, done + n), done + n === ids.length);
      await this.commit();
      done += n;
    }
    return logits;
  }

  // generate writes tokens after the logits that feed returned: the likeliest one each time.
  async generate(logits, { maxNewTokens = 256, stop = this.model.manifest.text?.stop_ids ?? [], token } = {}) {
    const out = [];
    while (out.length < maxNewTokens) {
      const id = argmax(logits);
      if (stop.includes(id)) break;
      out.push(id);
      if (token && (await token(id)) === false) break;
      if (out.length < maxNewTokens) logits = await this.feed([id]);
    }
    return out;
  }

  async stretch(ids, last) {
    const { graphs } = this.model;
    if (!graphs.prompt.port("outputs", "logits") && last && ids.length > 1) { // the generation graph has the logits
      await this.run("prompt", ids.slice(0, -1));
      ids = ids.slice(-1);
    }
    return this.run(ids.length === 1 ? "generation" : "prompt", ids);
  }

  // run computes up to T new tokens, which stand at the end, and stores what it made of them.
  async run(kind, ids) {
    const { model } = this, graph = model.graphs[kind];
    const T = kind === "prompt" ? model.shape.t : 1, pad = T - ids.length;
    for (const k of model.kinds) this.view(kind, k, T, pad);
    if (model.table) {
      const port = this.input(kind, "embeds"), width = model.table.shape[1];
      ids.forEach((id, i) => port.put(model.row(id), (pad + i) * width));
    } else {
      this.input(kind, "ids").data.set(ids, pad);
    }
    const results = await this.compute(kind);
    this.append(graph, results, T, pad);
    this.read += ids.length;
    const listed = graph.port("outputs", "logits");
    if (!listed) return null;
    const all = results[listed.name], V = model.vocabulary;
    return Float32Array.from(new Codec(listed).numbers(all.slice(all.length - V)));
  }

  // compute runs a graph and returns the elements of each output.
  async compute(kind) {
    const tensors = {}, results = {}, Half = globalThis.Float16Array;
    for (const [name, port] of Object.entries(this.inputs[kind])) tensors[name] = port.tensor;
    for (const part of this.model.graphs[kind].sessions) {
      const made = await part.run(Object.fromEntries(part.inputNames.map((name) => [name, tensors[name]])));
      Object.assign(tensors, made);
      Object.assign(results, made);
    }
    return Object.fromEntries(Object.entries(results).map(([name, { data }]) =>
      [name, Half && data instanceof Half ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data]));
  }

  // view fills mask and rotary tables of a kind of layers (runtime.md, section 6).
  view(graph, kind, T, pad) {
    const { model } = this, { stored } = this.parts(kind), C = this.layers[kind.layers[0]].C;
    const from = model.absolute ? this.read : stored, limit = kind.rope?.limit;
    if (limit && from + T - pad > limit) throw new Error(`position ${from + T - pad - 1} is out of reach of the base's rotary embedding, which ends at ${limit}`);
    const m = kind.frequencies.length;
    if (m) {
      const { cos, sin } = rotary(kind, from, T - pad);
      this.input(graph, "position_cos" + kind.suffix).put(cos, pad * m);
      this.input(graph, "position_sin" + kind.suffix).put(sin, pad * m);
    }
    const port = this.input(graph, "mask" + kind.suffix), mask = port.data, width = C + T + 1;
    const closed = port.codec.element(model.mask), open = port.codec.element(0), column = port.codec.element(this.column());
    mask.fill(closed);
    for (let t = 0; t < T; t++) {
      const place = stored + t - pad, row = t * width;
      const hidden = kind.window ? Math.max(0, place + 1 - kind.window) : 0;
      mask.fill(open, row + Math.min(hidden, stored), row + stored);
      mask.fill(open, row + C + Math.min(pad + Math.max(0, hidden - stored), t), row + C + t + 1);
      mask[row + width - 1] = column;
    }
  }

  // column is what the mask holds for the memory.
  column() {
    const { manifest, kinds, graphs, mask, empty } = this.model;
    if (!graphs.commit || !kinds.some((k) => this.parts(k).left > 0)) return mask;
    return manifest.memory_column === "log_tokens" ? Math.log(this.written() || empty) : 0;
  }

  append(graph, results, T, pad) {
    const { heads, headDim: d, gated } = this.model, n = T - pad;
    this.layers.forEach((l, i) => {
      const { C } = l, at = this.parts(l.kind).stored;
      const keys = results[graph.port("outputs", "key", i).name], values = results[graph.port("outputs", "value", i).name];
      const listed = l.score && graph.port("outputs", gated ? "write" : "retention", i);
      const scores = listed && new Codec(listed).numbers(results[listed.name]);
      for (let h = 0; h < heads; h++) {
        for (let e = 0; e < d; e++) l.keys.data.set(keys.subarray((h * d + e) * T + pad, (h * d + e + 1) * T), (h * d + e) * C + at);
        l.values.data.set(values.subarray((h * T + pad) * d, (h + 1) * T * d), (h * C + at) * d);
        if (scores) l.score.set(scores.subarray(h * T + pad, (h + 1) * T), h * C + at);
        for (let t = 0; t < n; t++) l.token[h * C + at + t] = this.read + t;
      }
    });
  }

  // commit ends the segments that are complete (runtime.md, section 7).
  async commit() {
    const { model } = this, L = model.shape.l;
    while (!this.held && this.read - this.committed >= L) {
      const before = this.written(), was = model.kinds.map((k) => this.parts(k));
      this.committed += L;
      const after = this.written();
      model.kinds.forEach((k, j) => { for (const i of k.layers) this.turnOver(i, was[j], this.parts(k), after); });
      if (after > before) await this.write(before, after);
    }
  }

  // turnOver moves a layer's stored tokens up and lays out what its memory takes up.
  turnOver(i, was, is, after) {
    const { model } = this, l = this.layers[i];
    const first = is.sinks, candidates = was.slots + is.left - was.left, stay = is.slots;
    for (let h = 0; h < model.heads; h++) {
      const places = Array.from({ length: candidates }, (_, j) => first + j);
      if (stay > 0 && stay < candidates) {
        const ranks = places.map((p) => rank(model.decay ? -Math.log(this.age(l, h, p) * lossOf(l.score[h * l.C + p])) : l.score[h * l.C + p]));
        places.sort((a, b) => ranks[b - first] - ranks[a - first] || a - b);
      }
      const kept = places.slice(0, stay).sort((a, b) => a - b), dropped = places.slice(stay).sort((a, b) => a - b);
      if (model.graphs.commit) this.evict(i, h, dropped, after);
      for (let p = first + candidates; p < was.stored; p++) kept.push(p);
      this.move(l, h, first, kept);
    }
  }

  // age is that of the token in a head's place after a commit (runtime.md, section 7).
  age(l, h, p) { return this.committed - l.token[h * l.C + p]; }

  // move makes the given places of a head follow each other from place `at` on.
  move(l, h, at, places) {
    const { headDim: d } = this.model, { C } = l;
    places.forEach((p, j) => {
      const to = at + j;
      if (to === p) return;
      for (let e = 0; e < d; e++) l.keys.data[(h * d + e) * C + to] = l.keys.data[(h * d + e) * C + p];
      l.values.data.copyWithin((h * C + to) * d, (h * C + p) * d, (h * C + p + 1) * d);
      l.token[h * C + to] = l.token[h * C + p];
      if (l.score) l.score[h * C + to] = l.score[h * C + p];
    });
  }

  // evict lays a head's places out for the commit graph (runtime.md, section 8).
  evict(i, h, places, after) {
    const { model } = this, { headDim: d } = model, l = this.layers[i], { C } = l, L = model.shape.l;
    const keys = this.input("commit", "key", i), values = this.input("commit", "value", i), weights = this.input("commit", "weight", i);
    for (const [port, from] of [[keys, l.keys], [values, l.values]]) {
      if (port.listed.dtype !== from.listed.dtype) throw new Error(`${port.listed.name} is ${port.listed.dtype}, the cache ${from.listed.dtype}`);
    }
    const shares = new Float32Array(L), share = Math.fround(model.scale / after);
    places.forEach((p, j) => {
      const column = Array.from({ length: d }, (_, e) => l.keys.data[(h * d + e) * C + p]);
      const key = model.absolute ? this.unrotate(l, column, l.token[h * C + p]) : column;
      key.forEach((x, e) => { keys.data[(h * d + e) * L + j] = x; });
      values.data.set(l.values.data.subarray((h * C + p) * d, (h * C + p + 1) * d), (h * L + j) * d);
      const sign = model.gated ? 1 : -1, score = l.score?.[h * C + p];
      const omega = model.decay ? -Math.expm1(-this.age(l, h, p) * lossOf(score)) : 1 / (1 + Math.exp(-sign * score));
      shares[j] = l.score ? share * Math.fround(omega) : share;
    });
    weights.put(shares, h * L);
  }

  // unrotate takes the rotary embedding of a position off a key.
  unrotate(l, column, position) {
    const m = l.kind.frequencies.length;
    if (!m) return column;
    const { codec } = l.keys, x = column.map((e) => codec.number(e)), { cos, sin } = rotary(l.kind, position, 1);
    const square = Math.fround(l.kind.rope.attention_scale) ** 2;
    for (let i = 0; i < m; i++) {
      const a = x[i], b = x[i + m];
      x[i] = (a * cos[i] + b * sin[i]) / square;
      x[i + m] = (b * cos[i] - a * sin[i]) / square;
    }
    return x.map((v) => codec.element(v));
  }

  // write runs the commit graph; the memory as it was counts for before/after.
  async write(before, after) {
    this.input("commit", "decay").put([before / after]);
    const results = await this.compute("commit"), graph = this.model.graphs.commit;
    for (let i = 0; i < this.model.layers; i++) {
      for (const role of ["memory", "memory_mass"]) this.input("commit", role, i).data.set(results[graph.port("outputs", role, i).name]);
    }
  }
}

// argmax returns the index of the largest number, of equal ones the first.
export function argmax(x) {
  let best = 0;
  for (let i = 1; i < x.length; i++) if (x[i] > x[best]) best = i;
  return best;
}

// encode turns a question into ids, with a tokenizer of @huggingface/tokenizers: as a turn
// of a conversation where the folder has a chat template, else as it is.
export function encode(model, tokenizer, text) {
  const turn = model.manifest.text?.turn;
  if (!turn) return Array.from(tokenizer.encode(text).ids);
  return Array.from(tokenizer.encode(turn.first + text.trimEnd() + turn.end, { add_special_tokens: false }).ids);
}
