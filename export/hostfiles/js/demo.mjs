// The demo page: reads the text segment by segment, then answers the question.
import * as ort from "onnxruntime-web";
import { Tokenizer } from "@huggingface/tokenizers";
import { encode, open } from "./eisft.mjs";

const at = (id) => document.getElementById(id);
const folder = new URL("../", import.meta.url);
const source = {
  async read(name) {
    const answer = await fetch(new URL(name, folder));
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
    return new Uint8Array(await answer.arrayBuffer());
  },
};
const json = async (name) => JSON.parse(new TextDecoder().decode(await source.read(name)));

ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
let model = null, tokenizer = null, stopped = false;

function say(text) { at("state").textContent = text; }

async function load(precision) {
  at("ask").disabled = true;
  say(`Loading the graphs in ${precision}…`);
  model = await open(source, ort, { precision, session: { executionProviders: ["wasm"], graphOptimizationLevel: "basic" } });
  at("ask").disabled = false;
  say(`Ready: ${model.shape.name}, ${precision}.`);
}

async function ask() {
  const text = [at("text").value.trimEnd(), at("question").value.trim()].filter(Boolean).join("\n\n");
  if (!text) return say("There is nothing to read: paste a text or write a question.");
  stopped = false;
  at("ask").disabled = true;
  at("stop").disabled = false;
  at("answer").textContent = "";
  try {
    const ids = encode(model, tokenizer, text), stream = model.stream(), start = performance.now(), { l } = model.shape;
    // The first call's length decides whether the prompt is short; the rest goes a segment at a time, for the bar.
    let logits = null;
    for (let done = 0; done < ids.length && !stopped;) {
      const n = done === 0 && ids.length <= model.short ? ids.length : Math.min(done === 0 ? (Math.floor(model.short / l) + 1) * l : l, ids.length - done);
      logits = await stream.feed(ids.slice(done, done + n));
      done += n;
      at("progress").value = done / ids.length;
      say(`Read ${done.toLocaleString()} of ${ids.length.toLocaleString()} tokens.`);
      await new Promise((next) => setTimeout(next));
    }
    if (stopped) return say("Stopped.");
    const first = performance.now(), out = [];
    await stream.generate(logits, {
      maxNewTokens: Math.max(1, Number(at("most").value) || 1),
      token: async (id) => {
        out.push(id);
        at("answer").textContent = tokenizer.decode(out, { skip_special_tokens: true });
        await new Promise((next) => setTimeout(next));
        return !stopped;
      },
    });
    const end = performance.now();
    say(`Done: ${ids.length.toLocaleString()} tokens read in ${((first - start) / 1000).toFixed(1)} s, ${out.length} written at ${(out.length / (end - first) * 1000).toFixed(1)} tokens/s.`);
  } finally {
    at("ask").disabled = false;
    at("stop").disabled = true;
  }
}

function failing(work) {
  return (...args) => work(...args).catch((e) => { say(`It failed: ${e.message}`); console.error(e); });
}

await failing(async () => {
  const manifest = await json("manifest.json");
  if (!manifest.text) throw new Error("the folder has no tokenizer");
  tokenizer = new Tokenizer(await json(manifest.text.tokenizer), manifest.text.config ? await json(manifest.text.config) : {});
  const precisions = [...new Set(manifest.graphs.map((g) => g.precision))];
  for (const p of precisions) at("precision").add(new Option(p, p, false, p === precisions.at(-1)));
  at("precision").onchange = failing(() => load(at("precision").value));
  at("ask").onclick = failing(ask);
  at("stop").onclick = () => { stopped = true; };
  await load(at("precision").value);
})();
