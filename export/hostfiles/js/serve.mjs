// Serves the exported folder on this machine alone, for the demo page:
//   node serve.mjs [--graph FOLDER] [--port 8000]
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, resolve, sep } from "node:path";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";

const { values } = parseArgs({ options: {
  graph: { type: "string", default: join(dirname(fileURLToPath(import.meta.url)), "..") }, port: { type: "string", default: "8000" },
} });
const root = resolve(values.graph);

function fail(text) {
  console.error(`serve.mjs: ${text}`);
  process.exit(1);
}

const port = Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65535) fail(`--port is ${values.port}; want a whole number of at most 65535`);
for (const name of ["onnxruntime-web", "@huggingface/tokenizers"]) {
  const wanted = join(root, "js", "node_modules", name);
  await stat(wanted).catch(() => fail(`there is no ${wanted}, which the page uses; in ${join(root, "js")}, run npm install --ignore-scripts`));
}
const types = { ".html": "text/html; charset=utf-8", ".mjs": "text/javascript", ".js": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };

const server = createServer(async (request, response) => {
  // Isolated pages may use threads.
  const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
  try {
    const path = resolve(root, "." + decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    if (path === root) return response.writeHead(302, { Location: "/js/index.html" }).end();
    if (!path.startsWith(root + sep)) throw new Error("outside");
    const { size } = await stat(path);
    response.writeHead(200, { ...headers, "Content-Type": types[extname(path)] ?? "application/octet-stream", "Content-Length": size });
    createReadStream(path).pipe(response);
  } catch {
    response.writeHead(404, headers).end("not found\n");
  }
});
server.on("error", (e) => fail(e.code === "EADDRINUSE" ? `port ${values.port} is in use; --port names another one, 0 a free one` : e.message));
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/js/index.html`));
