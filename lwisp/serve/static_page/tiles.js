// The network by windows of the frame, as lwisp/engines/tiles.py runs it: it averages over the frame in five places, so
// each stage ends before such an average, and windows give exactly what the whole frame would give.

import { reflected } from "./planes.js";

const STAGES = {
  p0: ["planes"], p1: ["p0"], p2: ["p1"], p3: ["p2"], bottom: ["p3"], low: ["p1", "p2"], high: ["planes", "p1", "low"],
};
const SCALES = { p0: 2, p1: 4, p2: 8, p3: 16, bottom: 16, low: 4 };
const HALOS = { p0: 16, p1: 16, p2: 16, p3: 32, bottom: 48, low: 64, high: 32 };
export const WINDOW = 384; // px of the first stage along a window's side; deeper stages take twice that

// Windows along a side whose cores cover it: {start, stop, first, last}, all in multiples of 16.
export function spans(side, longest, halo) {
  if (longest >= side) return [{ start: 0, stop: side, first: 0, last: side }];
  const inner = side - 2 * halo;
  const count = Math.ceil(inner / (longest - 2 * halo));
  const window = Math.ceil(inner / (16 * count)) * 16 + 2 * halo;
  const found = [];
  for (let done = 0; done < side; done = found.at(-1).last) {
    const start = Math.min(Math.max(done - halo, 0), side - window);
    const stop = start + window;
    found.push({ start, stop, first: done, last: stop === side ? side : stop - halo });
  }
  return found;
}

// Runs the network on planes {data, height, width}. `call` runs a module by its name, `write` takes the picture of each
// window (data, its width in px, rows, columns, px of the picture along a side of the first stage).
export async function runTiles(call, planes, facts, window, write, tell) {
  const factor = facts.cell / 2;
  const multiple = 16 * factor;
  const padded = (side) => Math.max(Math.ceil(side / multiple) * multiple, facts.minimum) / factor;
  const [height, width] = [padded(planes.height), padded(planes.width)];
  const kept = {};
  const windows = (name) => {
    const longest = STAGES[name].includes("planes") ? window : 2 * window;
    const across = spans(width, longest, HALOS[name]);
    return spans(height, longest, HALOS[name]).flatMap((rows) => across.map((columns) => [rows, columns]));
  };
  const work = (name) => { // how long a stage takes, roughly: its px, and how much is done at each
    const [rows, columns] = windows(name)[0];
    return (windows(name).length * (rows.stop - rows.start) * (columns.stop - columns.start)) / (SCALES[name] ?? 1) ** 1.5;
  };
  const all = Object.keys(STAGES).reduce((sum, name) => sum + work(name), 0);
  let done = 0;

  const run = async (name, vectors, use) => {
    const parts = windows(name);
    for (const [rows, columns] of parts) {
      const inputs = STAGES[name].map((source) =>
        source === "planes" ? readPlanes(planes, rows, columns, factor) : cut(kept[source], SCALES[source], rows, columns));
      use(await call(name === "high" ? "high-float32" : name, [...inputs, ...vectors]), rows, columns);
      done += work(name) / parts.length;
      tell(done / all);
    }
  };
  const gather = async (name, vectors) => { // the stage's output is kept; its means over the frame are returned
    const scale = SCALES[name];
    let total;
    await run(name, vectors, ([output], rows, columns) => {
      const [, channels, high, wide] = output.dims;
      kept[name] ??= { channels, width: width / scale, height: height / scale, data: new Float32Array((channels * height * width) / scale ** 2) };
      total ??= new Float64Array(channels);
      const to = kept[name];
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        for (let row = rows.first / scale; row < rows.last / scale; row++) {
          const from = (channel * high + row - rows.start / scale) * wide - columns.start / scale;
          const place = (channel * to.height + row) * to.width;
          for (let column = columns.first / scale; column < columns.last / scale; column++) {
            const value = output.data[from + column];
            to.data[place + column] = value;
            sum += value;
          }
        }
        total[channel] += sum;
      }
    });
    const share = scale ** 2 / (height * width);
    return { type: "float32", data: Float32Array.from(total, (sum) => sum * share), dims: [1, total.length] };
  };

  const [map0] = await call("map0", [await gather("p0", [])]);
  const [map1] = await call("map1", [await gather("p1", [map0])]);
  delete kept.p0;
  const [map2] = await call("map2", [await gather("p2", [map1])]);
  const [map3] = await call("map3", [await gather("p3", [map2])]);
  const [vector] = await call("vector", [await gather("bottom", [map3])]);
  delete kept.p3;
  delete kept.bottom;
  await gather("low", [map1, map2, vector]);
  delete kept.p2;
  await run("high", [map0, map1], ([picture, total], rows, columns) => {
    if (!Number.isFinite(total.data[0])) throw new Error("the network gave no finite numbers");
    write(picture.data, picture.dims[1], rows, columns, 2 * factor);
  });
}

// Planes (1, 5, rows, columns) of a window; what lies beyond the frame is reflected.
function readPlanes(planes, rows, columns, factor) {
  const down = reflected(rows.start * factor, rows.stop * factor, planes.height);
  const across = reflected(columns.start * factor, columns.stop * factor, planes.width);
  const data = new Float32Array(5 * down.length * across.length);
  let index = 0;
  for (let plane = 0; plane < 5; plane++) {
    for (const row of down) {
      const start = (plane * planes.height + row) * planes.width;
      for (let column = 0; column < across.length; column++) data[index++] = planes.data[start + across[column]];
    }
  }
  return { type: "float32", data, dims: [1, 5, down.length, across.length] };
}

function cut({ channels, height, width, data }, scale, rows, columns) {
  const [top, bottom, left, right] = [rows.start, rows.stop, columns.start, columns.stop].map((side) => side / scale);
  const found = new Float32Array(channels * (bottom - top) * (right - left));
  let index = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let row = top; row < bottom; row++, index += right - left) {
      const start = (channel * height + row) * width;
      found.set(data.subarray(start + left, start + right), index);
    }
  }
  return { type: "float32", data: found, dims: [1, channels, bottom - top, right - left] };
}
