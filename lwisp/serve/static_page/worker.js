// Develops photos beside the page, one at a time. It answers {kind: "develop", ...} with steps and a JPEG, {kind: "png"} with
// the same picture as PNG. It was started from a blob, so that the page's Content-Security-Policy holds here too; so are
// the workers that it starts itself.

const Plain = self.Worker;
self.Worker = class extends Plain {
  constructor(address, options) {
    const program = new Blob([`import ${JSON.stringify(String(address))};`], { type: "text/javascript" });
    super(URL.createObjectURL(program), { ...options, type: "module" });
  }
};

const { check, readKnown } = await import("./check.js");
const { develop } = await import("./develop.js");
const { Network, fetchFile, hasWebGpu } = await import("./network.js");
const { MOST_PIXELS, Refusal, readRaw } = await import("./raw.js");

const OUT_OF_MEMORY = /memory|allocation|bad_alloc|out of bounds|Array buffer|invalid array length/i;
const QUALITY = 0.95; // of the JPEG
const IS_FULL = "the browser's memory cannot hold it; close other tabs, or take lwisp develop";
const SIMD = new Uint8Array([ // a module with a function that returns a vector: i32.const 0, i8x16.splat
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
]);

let network;
let known;
let index;
const checked = new Set(); // names of weights
let read = null; // the last photo that was read: {id, raw}
let shown = null; // the last picture: {id, data, width, height}
let turn = Promise.resolve();

const tell = (message) => self.postMessage(message);

async function start() {
  if (typeof OffscreenCanvas === "undefined" || typeof WebAssembly === "undefined") {
    throw new Error("this browser is too old for it, or WebAssembly is switched off: it needs WebAssembly and OffscreenCanvas");
  }
  if (!WebAssembly.validate(SIMD)) throw new Error("this browser or processor is too old for it: it needs SIMD in WebAssembly");
  index = await (await fetchFile(new URL("./weights.json", import.meta.url))).json();
  known = await readKnown();
  const notes = [];
  for (const provider of (await hasWebGpu()) ? ["webgpu", "wasm"] : ["wasm"]) {
    try {
      network = await Network.start(provider);
      const most = await prove(index[0]);
      tell({ kind: "ready", provider, most, weights: index.map(({ name }) => name), pixels: MOST_PIXELS, notes });
      return;
    } catch (error) {
      if (provider === "wasm" && isOutOfMemory(error)) throw new Error(IS_FULL);
      notes.push(`By ${provider === "webgpu" ? "WebGPU" : "WASM"} the check failed: ${error.message}.`);
    }
  }
  throw new Error(notes.join(" "));
}

async function prove(weights) {
  if (checked.has(weights.name)) return 0;
  const most = await check(network, weights, known);
  checked.add(weights.name);
  return most;
}

// Fills `shown` with a photo's picture.
async function make({ id, file, knobs, weights: name }) {
  const weights = index.find((one) => one.name === name);
  shown = null; // its memory is needed
  if (read?.id !== id) {
    read = null;
    tell({ kind: "step", id, step: "decoding", share: null });
    read = { id, raw: await readRaw(file) };
  }
  tell({ kind: "step", id, step: "developing", share: 0 });
  await prove(weights);
  const picture = await develop(network, weights, read.raw, knobs, (share) => tell({ kind: "step", id, step: "developing", share }));
  shown = { id, ...picture };
}

async function sendJpeg(message) {
  const began = performance.now();
  await make(message);
  const jpeg = await encode("image/jpeg");
  const seconds = (performance.now() - began) / 1000;
  const { id, width, height } = shown;
  tell({ kind: "done", id, jpeg, width, height, seconds, facts: read.raw.facts, notes: read.raw.notes });
}

async function sendPng(message) {
  if (shown?.id !== message.id) await make(message); // another picture was made since
  tell({ kind: "png", id: message.id, png: await encode("image/png") });
}

async function encode(type) {
  const canvas = new OffscreenCanvas(shown.width, shown.height);
  const context = canvas.getContext("2d");
  if (!context) throw new Refusal("this browser has no room for a picture of that size");
  context.putImageData(new ImageData(shown.data, shown.width, shown.height), 0, 0);
  const found = await canvas.convertToBlob({ type, quality: QUALITY });
  if (found.type !== type) throw new Refusal("this browser has no room for a picture of that size");
  return found;
}

const isOutOfMemory = (error) => error instanceof RangeError || OUT_OF_MEMORY.test(String(error?.message ?? error));

function sentence(error) {
  if (error instanceof Refusal) return error.message;
  if (isOutOfMemory(error)) return IS_FULL;
  return `it failed: ${error?.message ?? error}`;
}

self.onmessage = ({ data }) => {
  turn = turn.then(async () => {
    try {
      await (data.kind === "png" ? sendPng(data) : sendJpeg(data));
    } catch (error) {
      const isFull = !(error instanceof Refusal) && isOutOfMemory(error);
      tell({ kind: data.kind === "png" ? "no png" : "failed", id: data.id, message: sentence(error), isFull });
    }
  });
};

try {
  await start();
} catch (error) {
  tell({ kind: "broken", message: error.message });
}
