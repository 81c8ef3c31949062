// Estimate of a sensor's noise from one mosaic, as lwisp/imaging/noise.py has it; the constants are explained there.

const SIDE = 8;
const FLATTEST = 0.05;
const FEWEST = 4;
const ALIKE = 1.15;
const GROUPS = 16;
const LEAST = 16;
const ROUNDS = 3;
const REFITS = 4;
const CLIPPED = 0.97;
const MOST = 2 ** 19;
const BAND = 64;
const SILENT = 1e-10;

const mean = (indices, values) => indices.reduce((sum, index) => sum + values[index], 0) / indices.length;

// [shot, read]: variance = shot * light + read, light from black 0 to white 1; zeros where it cannot be told.
export function estimateNoise(raw) {
  const height = raw.height >> 1;
  const width = raw.width >> 1;
  const step = Math.max(1, Math.ceil((height * width) / MOST));
  const means = [[], [], [], []];
  const variances = [[], [], [], []];
  for (let top = 0; top < height; top += BAND * step) {
    addBlocks(raw, top, Math.min(BAND + 2, height - top), width, means, variances);
  }
  return means[0].length < LEAST ? [0, 0] : fitNoise(means, variances);
}

function addBlocks(raw, top, rows, width, means, variances) {
  const down = Math.floor((rows - 2) / SIDE);
  const across = Math.floor((width - 2) / SIDE);
  const used = across * SIDE + 2;
  const light = raw.places.map(([row, column], color) => {
    const low = raw.black[color];
    const scale = 1 / (raw.white[color] - low);
    const plane = new Float32Array(Math.max(rows, 0) * used);
    for (let y = 0; y < rows; y++) {
      const start = (2 * (top + y) + row) * raw.width + column;
      for (let x = 0; x < used; x++) plane[y * used + x] = (raw.mosaic[start + 2 * x] - low) * scale;
    }
    return plane;
  });
  for (let r = 0; r < down; r++) {
    for (let c = 0; c < across; c++) {
      const found = light.map((plane) => judge(plane, used, r * SIDE + 1, c * SIDE + 1));
      if (Math.max(...found.map((block) => block[0])) >= CLIPPED) continue;
      found.forEach(([, average, variance], color) => {
        means[color].push(average);
        variances[color].push(variance);
      });
    }
  }
}

// [largest value, mean, mean square of what the filter [1, -2, 1] gives both ways] of a block
function judge(plane, width, top, left) {
  let largest = -Infinity;
  let sum = 0;
  let squares = 0;
  for (let y = top; y < top + SIDE; y++) {
    for (let x = left; x < left + SIDE; x++) {
      const at = y * width + x;
      const row = (place) => plane[place - 1] - 2 * plane[place] + plane[place + 1];
      const value = (row(at - width) - 2 * row(at) + row(at + width)) / 6;
      largest = Math.max(largest, plane[at]);
      sum += plane[at];
      squares += value * value;
    }
  }
  return [largest, sum / SIDE ** 2, squares / SIDE ** 2];
}

function fitNoise(means, variances) {
  const light = means.map((values) => values.map((value) => Math.max(value, 0)));
  const green = light[1];
  const noisy = variances[1];
  const order = Array.from(green.keys()).sort((one, other) => green[one] - green[other]);
  const groups = split(order, Math.min(GROUPS, Math.floor(green.length / LEAST)));
  let shot = 1;
  let read = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const varies = green.map((_, block) =>
      [0, 2, 3].reduce((sum, color) => sum + variances[color][block] / (shot * light[color][block] + read + SILENT), 0) / 3);
    const chosen = groups.map((group) => flat(group, varies));
    const signal = chosen.map((group) => mean(group, green));
    const variance = chosen.map((group) => mean(group, noisy));
    const structure = chosen.map((group) => mean(group, varies) + 1e-3);
    const least = Math.min(...structure);
    const trust = chosen.map((group, index) => (least / structure[index]) ** 2 * Math.sqrt(group.length));
    [shot, read] = fitLine(signal, variance, trust);
  }
  return [shot, read];
}

function split(order, count) {
  const size = Math.floor(order.length / count);
  const longer = order.length % count;
  const groups = [];
  for (let index = 0, from = 0; index < count; index++) {
    const to = from + size + (index < longer ? 1 : 0);
    groups.push(order.slice(from, to));
    from = to;
  }
  return groups;
}

function flat(group, varies) {
  const ordered = [...group].sort((one, other) => varies[one] - varies[other]);
  const few = Math.max(FEWEST, Math.floor(FLATTEST * group.length));
  const limit = ALIKE * mean(ordered.slice(0, few), varies);
  const count = ordered.findIndex((block) => varies[block] >= limit);
  return ordered.slice(0, Math.max(few, count < 0 ? ordered.length : count));
}

function fitLine(signal, variance, trust) {
  const average = signal.reduce((sum, value) => sum + value, 0) / signal.length;
  const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
  if (Math.max(...signal) - Math.min(...signal) < 0.1 * average) {
    const squared = trust.map((value) => value * value);
    return [dot(variance, squared) / squared.reduce((sum, value) => sum + value, 0) / Math.max(average, 1e-6), 0];
  }
  let shot = 0;
  let read = 0;
  let line = variance;
  let excess = variance.map(() => 1);
  for (let fit = 0; fit <= REFITS; fit++) {
    const highest = Math.max(...line);
    const weight = trust.map((value, index) => value / excess[index] ** 2 / Math.max(line[index], highest * 1e-3 + 1e-12));
    const slope = signal.map((value, index) => value * weight[index]);
    const target = variance.map((value, index) => value * weight[index]);
    const [a, b, c] = [dot(slope, slope), dot(slope, weight), dot(weight, weight)];
    const [u, v] = [dot(slope, target), dot(weight, target)];
    shot = (u * c - v * b) / (a * c - b * b);
    read = (v * a - u * b) / (a * c - b * b);
    if (read < 0) [shot, read] = [u / a, 0];
    else if (shot < 0) [shot, read] = [0, v / c];
    line = signal.map((value) => shot * value + read);
    excess = variance.map((value, index) => Math.max(1, value / (line[index] + SILENT)));
  }
  return [shot, read];
}
