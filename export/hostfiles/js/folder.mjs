// What Node's programs here share: the export's folder as a source, and the command line.
import { readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import ort from "onnxruntime-node";
import { open } from "./eisft.mjs";

// ONNX Runtime reads it with its first session; without it, it sends what it loads to its maker.
process.env.ORT_DISABLE_TELEMETRY ??= "1";

// What is wrong is said in a line; a fault of these programs shows where it is.
process.on("uncaughtException", (e) => {
  console.error(e.constructor === Error || e.code ? `${basename(process.argv[1])}: ${e.message}` : e.stack);
  process.exit(1);
});

// flags are those of every program.
export const flags = {
  graph: { type: "string", default: join(dirname(fileURLToPath(import.meta.url)), "..") },
  shape: { type: "string" },
  precision: { type: "string" },
  level: { type: "string", default: "basic" }, // of ONNX Runtime's graph optimization
};

export function commandLine(options) {
  return parseArgs({ options: { ...flags, ...options } }).values;
}

// source reads an exported folder.
export function source(folder) {
  const path = (name) => resolve(folder, name);
  return { path, read: (name) => readFile(path(name)), json: async (name) => JSON.parse(await readFile(path(name), "utf8")) };
}

export async function openFolder(values, choice = values) {
  return open(source(values.graph), ort, {
    shape: choice.shape, precision: choice.precision, session: { graphOptimizationLevel: values.level },
  });
}
