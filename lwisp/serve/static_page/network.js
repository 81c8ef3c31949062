// ONNX Runtime Web with the modules of the weights: by WebGPU where there is one and its results are right, else by WASM.

const RUNTIMES = { webgpu: "ort.webgpu.min.mjs", wasm: "ort.wasm.min.mjs" };
const PLACE = new URL("./vendor/onnxruntime-web/dist/", import.meta.url).href;
const MODELS = new URL("./models/", import.meta.url).href;
const STAGES = ["p0", "p1", "p2", "p3", "bottom", "low", "high-float32"]; // what a GPU is for; the rest is small, and
// some of it takes integers of 16 bits, which ONNX Runtime's program with WebGPU cannot convert

const SAME = 1e-3; // of the largest value: what a GPU may differ by

// Whether there is a GPU; one that the processor imitates is slower than WASM.
export async function hasWebGpu() {
  try {
    const adapter = navigator.gpu && (await navigator.gpu.requestAdapter());
    return Boolean(adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
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
    this.isRight = new Map(); // by path: whether the GPU computes a stage as WASM does
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
    for (const key of [...this.sessions.keys()]) {
      const [provider, path] = key.split(":");
      if (!path.startsWith("light/")) await this.release(provider, path);
    }
    this.weights = weights;
  }

  // Runs a module on plain tensors {type, data, dims}; such are its outputs. What a GPU is given first is computed by WASM
  // too, which has the module from then on where the GPU is wrong: some drivers are, and some of the runtime's programs.
  call = async (name, inputs) => {
    const path = this.weights.modules.includes(name) ? `${this.weights.name}/${name}.onnx` : `light/${name}.onnx`;
    if (this.provider === "wasm" || !STAGES.includes(name) || this.isRight.get(path) === false) {
      return this.run("wasm", path, inputs);
    }
    const found = await this.run(this.provider, path, inputs);
    if (this.isRight.has(path)) return found;
    const expected = await this.run("wasm", path, inputs);
    this.isRight.set(path, isNear(found[0].data, expected[0].data));
    await this.release(this.isRight.get(path) ? "wasm" : this.provider, path);
    return expected;
  };

  async run(provider, path, inputs) {
    const ort = this.runtimes[provider];
    const key = `${provider}:${path}`;
    if (!this.sessions.has(key)) {
      const content = new Uint8Array(await (await fetchFile(MODELS + path)).arrayBuffer());
      const options = { executionProviders: [provider], logSeverityLevel: 3 };
      this.sessions.set(key, await ort.InferenceSession.create(content, options));
    }
    const session = this.sessions.get(key);
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
  }

  async release(provider, path) {
    const key = `${provider}:${path}`;
    const session = this.sessions.get(key);
    this.sessions.delete(key);
    await session.release();
  }
}

function isNear(found, expected) {
  let most = 0;
  let apart = 0;
  expected.forEach((value, index) => {
    most = Math.max(most, Math.abs(value));
    apart = Math.max(apart, Math.abs(value - found[index]));
  });
  return apart <= SAME * most; // written so that NaN fails too
}
