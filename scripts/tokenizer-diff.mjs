// node tokenizer-diff.mjs TOKENIZERS_JS TOKENIZER_DIR TEXTS: encodes each line of TEXTS
// (a JSON string) and prints {"ids": [...], "text": "..."} for it, text being the ids decoded.
import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, dir, texts] = process.argv.slice(2);
const { Tokenizer } = await import(pathToFileURL(library));
const json = (name) => JSON.parse(readFileSync(`${dir}/${name}`, "utf8"));
const tokenizer = new Tokenizer(json("tokenizer.json"), json("tokenizer_config.json"));

const lines = readFileSync(texts, "utf8").split("\n").filter((line) => line !== "");
const print = (line) => {
  for (let rest = Buffer.from(line + "\n"); rest.length > 0; ) {
    rest = rest.subarray(writeSync(1, rest));
  }
};
for (const line of lines) {
  const { ids } = tokenizer.encode(JSON.parse(line), { add_special_tokens: true });
  const text = ids.length ? tokenizer.decode(ids, { clean_up_tokenization_spaces: false }) : "";
  print(JSON.stringify({ ids, text }));
}
