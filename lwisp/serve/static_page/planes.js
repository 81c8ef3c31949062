// The network's input from a mosaic, as lwisp/pipeline.py and lwisp/planes.py make it: planes R, Gr, Gb, B of its cells,
// and one that tells the noise; 1 is the white of the exposed frame.

const BAND = 64; // rows of cells that are made at once
const GRID = 64; // parts along a side of the frame whose means the exposure rule looks at
const SAMPLES = 256; // cells along the shorter side that are looked at for the colors of bright light
const MARGIN = 2; // photosites that a cell's steps reach beyond it

// Positions from `start` to `stop` along a side that is reflected at both ends, the border itself left out.
export function reflected(start, stop, size) {
  const period = Math.max(2 * (size - 1), 1);
  return Int32Array.from({ length: stop - start }, (_, index) => {
    const place = (((start + index) % period) + period) % period;
    return Math.min(place, period - place);
  });
}

function take(raw, rows, columns) {
  const found = new Uint16Array(rows.length * columns.length);
  rows.forEach((row, y) => {
    for (let x = 0; x < columns.length; x++) found[y * columns.length + x] = raw.mosaic[row * raw.width + columns[x]];
  });
  return { type: "uint16", data: found, dims: [rows.length, columns.length] };
}

const vector = (values) => ({ type: "float32", data: Float32Array.from(values), dims: [values.length] });
const scalar = (value) => ({ type: "float32", data: Float32Array.of(value), dims: [] });
const matrixOf = (rows) => ({ type: "float32", data: Float32Array.from(rows.flat()), dims: [3, 3] });

// Planes (5, height, width) of a RAW. `call` runs a module by its name; `knobs` are exposure in EV, highlights (0 to 1)
// and noise_reduction (0 to 2); `headroom` is the weights', in EV.
export async function makePlanes(call, raw, knobs, headroom, tell) {
  const [before, left] = raw.offset;
  const height = (raw.height + before + 1) >> 1;
  const width = (raw.width + left + 1) >> 1;
  const size = height * width;
  const planes = new Float32Array(5 * size);
  const levels = [vector(raw.black), vector(raw.white)];
  const gains = vector(raw.gains);
  const matrix = matrixOf(raw.matrix);

  const step = Math.max(1, Math.floor(Math.min(height, width) / SAMPLES));
  const cells = (count, start, side) => {
    const places = reflected(-start, 2 * count - start, side);
    return places.filter((_, index) => (index >> 1) % step === 0);
  };
  const samples = take(raw, cells(height, before, raw.height), cells(width, left, raw.width));
  const [bright] = await call("colors", [samples, ...levels, gains]);

  const down = parts(height);
  const across = parts(width);
  const total = new Float64Array(4 * GRID * GRID);
  const columns = reflected(-left - MARGIN, 2 * width - left + MARGIN, raw.width);
  for (let top = 0; top < height; top += BAND) {
    const bottom = Math.min(top + BAND, height);
    const rows = reflected(2 * top - before - MARGIN, 2 * bottom - before + MARGIN, raw.height);
    const colors = between(bright.data, top - 1, bottom + 1, height, width);
    const [light] = await call("light-hm", [take(raw, rows, columns), ...levels, gains, colors, matrix]);
    for (let plane = 0; plane < 4; plane++) {
      const band = light.data.subarray(plane * (bottom - top) * width, (plane + 1) * (bottom - top) * width);
      planes.set(band, plane * size + top * width);
      addMeans(total.subarray(plane * GRID * GRID, (plane + 1) * GRID * GRID), band, top, bottom, width, down, across);
    }
    tell(bottom / height);
  }
  const [frame] = await call("gain", [{ type: "float32", data: Float32Array.from(total), dims: [1, 4, GRID, GRID] }]);
  const exposure = 2 ** knobs.exposure;
  const gain = Math.fround(frame.data[0] * exposure);
  const white = Math.min(Math.max(frame.data[1] * exposure, 1), 2 ** headroom) ** knobs.highlights;
  const strength = knobs.noise_reduction ** 2;
  const noise = vector([raw.noise[0] * strength * gain, raw.noise[1] * strength * gain * gain]);
  for (let top = 0; top < height; top += BAND) {
    const rows = Math.min(BAND, height - top);
    const light = new Float32Array(4 * rows * width);
    for (let plane = 0; plane < 4; plane++) {
      light.set(planes.subarray(plane * size + top * width, plane * size + (top + rows) * width), plane * rows * width);
    }
    const input = { type: "float32", data: light, dims: [1, 4, rows, width] };
    const [exposed] = await call("expose-n", [input, scalar(gain), scalar(white), noise]);
    for (let plane = 0; plane < 5; plane++) {
      planes.set(exposed.data.subarray(plane * rows * width, (plane + 1) * rows * width), plane * size + top * width);
    }
  }
  return { data: planes, height, width };
}

// First and last position of each of `GRID` parts of a side, which overlap where it is no multiple of them.
function parts(side) {
  return Array.from({ length: GRID }, (_, part) => [Math.floor((part * side) / GRID), Math.ceil(((part + 1) * side) / GRID)]);
}

// Adds the means of a band's parts to those of the frame.
function addMeans(total, band, top, bottom, width, down, across) {
  const sums = new Float64Array(GRID);
  for (let row = top; row < bottom; row++) {
    const start = (row - top) * width;
    for (let part = 0; part < GRID; part++) {
      const [first, last] = across[part];
      let sum = 0;
      for (let column = first; column < last; column++) sum += band[start + column];
      sums[part] = sum / (last - first);
    }
    down.forEach(([first, last], part) => {
      if (row < first || row >= last) return;
      for (let column = 0; column < GRID; column++) total[part * GRID + column] += sums[column] / (last - first);
    });
  }
}

// Colors of bright light (3, rows, columns) of a band with one more cell on each side, between those of the parts.
function between(bright, first, last, height, width) {
  const place = (position, side) => {
    const at = Math.min(Math.max((position + 0.5) * (GRID / side) - 0.5, 0), GRID - 1);
    const low = Math.min(Math.floor(at), GRID - 2);
    return [low, at - low];
  };
  const columns = Array.from({ length: width + 2 }, (_, column) => place(column - 1, width));
  const rows = last - first;
  const data = new Float32Array(3 * rows * (width + 2));
  const line = new Float64Array(GRID);
  let index = 0;
  for (let color = 0; color < 3; color++) {
    for (let row = first; row < last; row++) {
      const [low, share] = place(row, height);
      const start = (color * GRID + low) * GRID;
      for (let part = 0; part < GRID; part++) {
        line[part] = bright[start + part] + share * (bright[start + GRID + part] - bright[start + part]);
      }
      for (const [before, rest] of columns) data[index++] = line[before] + rest * (line[before + 1] - line[before]);
    }
  }
  return { type: "float32", data, dims: [3, rows, width + 2] };
}
