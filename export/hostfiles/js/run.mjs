// Reads a text and answers:
//   node run.mjs --prompt-file FILE [--max-new-tokens N] [--graph FOLDER] [--precision NAME]
// With --ids FILE it reads token ids (a JSON list, or a list of lists) and prints ids.
import { readFile } from "node:fs/promises";
import { encode } from "./eisft.mjs";
import { commandLine, openFolder, source } from "./folder.mjs";

const values = commandLine({
  prompt: { type: "string" }, "prompt-file": { type: "string" }, ids: { type: "string" }, "max-new-tokens": { type: "string", default: "256" },
});
const maxNewTokens = Number(values["max-new-tokens"]);
if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) throw new Error(`--max-new-tokens is ${values["max-new-tokens"]}; want a whole number of at least 1`);
if ([values.prompt, values["prompt-file"], values.ids].filter((v) => v !== undefined).length !== 1) throw new Error("there is nothing to read: want one of --prompt TEXT, --prompt-file FILE and --ids FILE");
const text = values.prompt ?? await readFile(values["prompt-file"] ?? values.ids, "utf8");
const model = await openFolder(values), { manifest } = model;

async function answer(ids, options) {
  const stream = model.stream();
  return stream.generate(await stream.feed(ids), { maxNewTokens, ...options });
}

if (values.ids !== undefined) {
  const read = JSON.parse(text);
  for (const ids of Array.isArray(read[0]) ? read : [read]) console.log(JSON.stringify(await answer(ids, { stop: [] })));
} else if (!manifest.text) {
  throw new Error(`${values.graph} has no tokenizer; want --ids FILE`);
} else {
  const { Tokenizer } = await import("@huggingface/tokenizers");
  const folder = source(values.graph);
  const tokenizer = new Tokenizer(await folder.json(manifest.text.tokenizer), manifest.text.config ? await folder.json(manifest.text.config) : {});
  const out = await answer(encode(model, tokenizer, text));
  console.log(out.length ? tokenizer.decode(out, { skip_special_tokens: true }) : "");
}
