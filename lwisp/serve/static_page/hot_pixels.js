// Repair of hot and dead photosites, as lwisp/imaging/hot_pixels.py has it; the constants are explained there.

const FLOOR = 0.01;
const LEAST = 6;
const CONTRAST = 0.05;
const OVER_NEIGHBORS = 4;
const LENS_BLUR = 0.2;
const CLUSTER_FLOOR = 0.03;
const MOST_TOUCHING = 50000;
const MOST_TOGETHER = 4;
const REACH = 4;
const MUCH = 2 ** 14;

const around = (down, right) => {
  const places = [];
  for (const row of new Set([-down, down])) for (const column of new Set([-right, right])) places.push([row, column]);
  return places;
};
const ROW = around(0, 2);
const COLUMN = around(2, 0);
const EIGHT = [...ROW, ...COLUMN, ...around(2, 2)];
const FARTHER = [...around(0, 4), ...around(4, 0), ...around(2, 4), ...around(4, 2), ...around(4, 4)];

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// Replaces hot and dead photosites of a mosaic (height x width, Uint16Array) in place; how many there were.
export function repairHotPixels(raw) {
  const { mosaic, width, height } = raw;
  if (Math.min(height, width) <= 2 * REACH) return 0;
  const black = Math.min(...raw.black);
  const range = Math.max(...raw.white) - black;
  const floor = Math.max(FLOOR * range, LEAST);
  const clusterFloor = Math.max(CLUSTER_FLOOR * range, LEAST);
  const clusterQuarter = Math.floor(Math.min(clusterFloor / 4, MUCH));

  const mirrored = (index, side) => side - 1 - Math.abs(side - 1 - Math.abs(index));
  const at = (row, column) => mosaic[mirrored(row, height) * width + mirrored(column, width)];
  const seen = (row, column, places) => places.map(([down, right]) => at(row + down, column + right));
  const average = (row, column, ...steps) => mean(seen(row, column, steps.flatMap(([down, right]) => around(down, right))));

  const sticksOut = (row, column, places) => {
    const center = at(row, column);
    let low = Infinity;
    let high = -Infinity;
    for (const [down, right] of places) {
      const value = at(row + down, column + right);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const least = Math.max(floor, CONTRAST * ((center > high ? high : low) - black));
    return Math.max(center - high, low - center) > least + OVER_NEIGHBORS * (high - low);
  };
  const beside = (row, column, excess) => {
    const inRow = average(row, column, [0, 1]) - average(row, column, [2, 1]);
    const inColumn = average(row, column, [1, 0]) - average(row, column, [1, 2]);
    const across = average(row, column, [1, 1]) - average(row, column, [1, 3], [3, 1]);
    return (inRow + inColumn + across) / excess;
  };
  const isHotAlone = (row, column) => {
    if (!sticksOut(row, column, ROW) || !sticksOut(row, column, COLUMN) || !sticksOut(row, column, EIGHT)) return false;
    const eight = seen(row, column, EIGHT);
    if (!(beside(row, column, at(row, column) - mean(eight)) < LENS_BLUR)) return false;
    const isDoubtful = Math.min(...eight) <= black || row < 2 || row >= height - 2 || column < 2 || column >= width - 2;
    return !isDoubtful || sticksOut(row, column, [...EIGHT, ...FARTHER]);
  };
  const mayTouch = (place) => {
    const a = mosaic[place - 2];
    const b = mosaic[place + 2];
    const c = mosaic[place - 2 * width];
    const d = mosaic[place + 2 * width];
    const second = Math.max(Math.min(a, b), Math.min(c, d));
    const nextLowest = Math.min(second, Math.max(a, b), Math.max(c, d));
    const apart = Math.min(nextLowest - Math.min(a, b, c, d), MUCH) + clusterQuarter;
    return (Math.max(mosaic[place] - nextLowest, 0) >> 2) >= apart;
  };

  const replaced = new Map();
  const touching = new Set();
  let count = 0;
  for (let row = 0; row < height; row++) {
    const isInside = row >= REACH && row < height - REACH;
    for (let column = 0; column < width; column++) {
      const place = row * width + column;
      if (row >= 2 && row < height - 2 && column >= 2 && column < width - 2) {
        const value = mosaic[place];
        const left = mosaic[place - 2];
        const right = mosaic[place + 2];
        const isBetween = value <= Math.max(left, right) + LEAST && value >= Math.min(left, right) - LEAST;
        if (!isBetween && isHotAlone(row, column)) replaced.set(place, Math.floor(median(seen(row, column, EIGHT))));
        if (value <= Math.min(left, right) && value <= Math.min(mosaic[place - 2 * width], mosaic[place + 2 * width])) continue;
        if (!isInside || column < REACH || column >= width - REACH || !mayTouch(place)) continue;
        const lowest = seen(row, column, EIGHT).sort((one, other) => one - other).slice(0, EIGHT.length - MOST_TOGETHER + 1);
        const most = lowest.at(-1);
        if (value - most < Math.max(clusterFloor, CONTRAST * (most - black)) + OVER_NEIGHBORS * (most - lowest[0])) continue;
        count++;
        if (beside(row, column, value - mean(lowest)) < LENS_BLUR) touching.add(place);
      } else if (isHotAlone(row, column)) {
        replaced.set(place, Math.floor(median(seen(row, column, EIGHT))));
      }
    }
  }
  if (count <= MOST_TOUCHING) {
    for (const members of connected(touching, width)) {
      if (members.size < 2 || members.size > MOST_TOGETHER) continue;
      const others = (place, steps) => {
        const [row, column] = [Math.floor(place / width), place % width];
        return steps
          .map(([down, right]) => (row + down) * width + column + right)
          .filter((one) => !members.has(one))
          .map((one) => mosaic[one]);
      };
      const isHot = (place) => {
        const values = others(place, [...EIGHT, ...FARTHER]);
        const high = Math.max(...values);
        const low = Math.min(...values);
        return mosaic[place] - high > Math.max(clusterFloor, CONTRAST * (high - black)) + OVER_NEIGHBORS * (high - low);
      };
      if (![...members].every(isHot)) continue;
      for (const place of members) replaced.set(place, Math.floor(median(others(place, EIGHT))));
    }
  }
  for (const [place, value] of replaced) mosaic[place] = value;
  return replaced.size;
}

// Sets of places of one color that touch by a side or a corner.
function* connected(places, width) {
  const left = new Set(places);
  for (const first of places) {
    if (!left.delete(first)) continue;
    const members = new Set();
    const waiting = [first];
    while (waiting.length) {
      const place = waiting.pop();
      members.add(place);
      for (const [down, right] of EIGHT) {
        const near = place + down * width + right;
        if (left.delete(near)) waiting.push(near);
      }
    }
    yield members;
  }
}
