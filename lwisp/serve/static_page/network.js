// ONNX Runtime Web with the modules of the weights: by WebGPU where there is one and its results are right, else by WASM.

const RUNTIMES = { webgpu: "ort.webgpu.min.mjs", wasm: "ort.wasm.min.mjs" };
const PLACE = new URL("./vendor/onnxruntime-web/dist/", import.meta.url).href;
const MODELS = new URL("./models/", import.meta.url).href;
const STAGES = ["p0", "p1", "p2", "p3", "bottom", "low", "high-float32"]; // what a GPU is for; the rest is small, and
// some of it takes integers of 16 bits, which ONNX Runtime's program with WebGPU cannot convert

export async function hasWebGpu() {
  try {
    return Boolean(navigator.gpu && (await navigator.gpu.requestAdapter()));
  } catch {
    return false;
  }
}

export async function fetchFile(address) {
  const answer = await fetch(address).catch(() => null);
  if (!answer || !answer.ok) throw new Error(`${address} is missing; write the folder again with lwisp serve --static`);
  return answer;
}

async function load(provider) {
  const ort = await import(PLACE + RUNTIMES[provider]);
  ort.env.wasm.wasmPaths = PLACE;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort.env.logLevel = "error";
  return ort;
}

export class Network {
  constructor(runtimes, provider) {
    this.runtimes = runtimes; // by provider
    this.provider = provider; // "webgpu" or "wasm", of the stages
    this.sessions = new Map();
    this.weights = null;
  }

  static async start(provider) {
    const runtimes = { wasm: await load("wasm") };
    runtimes[provider] ??= await load(provider);
    return new Network(runtimes, provider);
  }

  // Takes the modules of these weights from now on; those of others are let go.
  async use(weights) {
    if (this.weights === weights) return;
    for (const [path, session] of this.sessions) {
      if (path.startsWith("light/")) continue;
      this.sessions.delete(path);
      await session.release();
    }
    this.weights = weights;
  }

  // Runs a module on plain tensors {type, data, dims}; such are its outputs.
  call = async (name, inputs) => {
    const path = this.weights.modules.includes(name) ? `${this.weights.name}/${name}.onnx` : `light/${name}.onnx`;
    const provider = STAGES.includes(name) ? this.provider : "wasm";
    const ort = this.runtimes[provider];
    if (!this.sessions.has(path)) {
      const content = new Uint8Array(await (await fetchFile(MODELS + path)).arrayBuffer());
      const options = { executionProviders: [provider], logSeverityLevel: 3 };
      this.sessions.set(path, await ort.InferenceSession.create(content, options));
    }
    const session = this.sessions.get(path);
    const feeds = {};
    session.inputNames.forEach((input, index) => {
      const { type, data, dims } = inputs[index];
      feeds[input] = new ort.Tensor(type, data, dims);
    });
    const results = await session.run(feeds);
    return session.outputNames.map((output) => {
      const { type, data, dims } = results[output];
      return { type, data, dims };
    });
  };
}
