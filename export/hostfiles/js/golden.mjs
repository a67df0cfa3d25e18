// Holds the host to the golden vectors of its folder (runtime.md, section 11):
//   node golden.mjs [--graph FOLDER] [--precision NAME]
import { argmax, safetensors } from "./eisft.mjs";
import { commandLine, openFolder, source } from "./folder.mjs";

const values = commandLine({});
const folder = source(values.graph);
const manifest = await folder.json("manifest.json");

// Compared collects what differs.
class Compared {
  constructor() { Object.assign(this, { calls: 0, same: 0, max: 0, sum: 0, count: 0, memory: 0, slots: 0, sameSlots: 0, wrong: null }); }
  logits(got, want) {
    got.forEach((g, i) => {
      const d = Math.abs(g - want[i]);
      this.sum += d;
      this.count++;
      if (!(d <= this.max)) this.max = d;
    });
  }
  state(got, want) {
    let most = 0, largest = 0;
    want.forEach((w, i) => {
      most = Math.max(most, Math.abs(w));
      const d = Math.abs(w - got[i]);
      if (!(d <= largest)) largest = d;
    });
    const share = most ? largest / most : largest;
    if (!(share <= this.memory)) this.memory = share;
  }
}

async function replay(listed) {
  const steps = await folder.json(listed.steps), tensors = safetensors(await folder.read(listed.tensors));
  if (steps.format !== 1) throw new Error(`${listed.steps}: format ${steps.format}, want 1`);
  const model = await openFolder(values, listed), c = new Compared(), wanted = tensors.logit_ids.data;
  for (const { name, calls } of steps.sequences) {
    const stream = model.stream(), ids = Array.from(tensors[`${name}.ids`].data);
    for (const [i, call] of calls.entries()) {
      const row = await stream.feed(ids.slice(call.read - call.tokens, call.read));
      c.logits(Array.from(wanted, (id) => row[id]), tensors[`${name}.logits`].data.subarray(i * wanted.length, (i + 1) * wanted.length));
      c.calls++;
      if (argmax(row) === tensors[`${name}.best`].data[i]) c.same++;
      for (const [key, got] of Object.entries({ read: stream.read, committed: stream.committed, held: stream.held, written: stream.written() })) {
        if (got !== call[key]) c.wrong ??= `${name}.${i}: ${key} is ${got}, want ${call[key]}`;
      }
      if (!call.state) continue;
      for (const layer of steps.layers) {
        const slots = tensors[`${name}.${i}.slots.${layer}`], own = stream.slots(layer);
        if (slots) {
          const [, n] = slots.shape;
          own.forEach((kept, h) => {
            const want = new Set(slots.data.subarray(h * n, (h + 1) * n));
            c.slots += n;
            c.sameSlots += kept.filter((t) => want.has(t)).length;
          });
        }
        const memory = tensors[`${name}.${i}.memory.${layer}`];
        if (memory) {
          const got = stream.memory(layer);
          c.state(got.memory, memory.data);
          c.state(got.mass, tensors[`${name}.${i}.memory_mass.${layer}`].data);
        }
      }
    }
  }
  const t = steps.tolerance, mean = c.sum / c.count;
  if (!(c.max <= t.logits.max && mean <= t.logits.mean)) c.wrong ??= "logits differ by more than the tolerance";
  if (!(c.memory <= t.memory)) c.wrong ??= "memories differ by more than the tolerance";
  if (c.sameSlots < t.slots * c.slots) c.wrong ??= "other tokens are in the slots";
  console.log(`${listed.shape} ${listed.precision}: ${c.same} of ${c.calls} tokens equal, logits max ${c.max.toPrecision(2)} (allowed ${t.logits.max.toPrecision(2)}), ` +
    `mean ${mean.toPrecision(2)} (${t.logits.mean.toPrecision(2)}), memory ${c.memory.toPrecision(2)} (${t.memory.toPrecision(2)}), ${c.sameSlots} of ${c.slots} slots equal`);
  return c.wrong;
}

let failed = false, ran = 0;
for (const listed of manifest.golden ?? []) {
  if (values.precision && listed.precision !== values.precision || values.shape && listed.shape !== values.shape) continue;
  ran++;
  const wrong = await replay(listed);
  if (wrong) {
    console.error(`${listed.shape} ${listed.precision}: FAILED: ${wrong}`);
    failed = true;
  }
}
if (ran === 0) throw new Error(`${values.graph} has no golden vectors for the graphs asked for`);
process.exitCode = failed ? 1 : 0;
