// A RAW that was read -> its picture: the visible part as RGBA, upright.

import { makePlanes } from "./planes.js";
import { WINDOW, runTiles } from "./tiles.js";

const PREPARING = 0.1; // share of the time before the network

// {data (Uint8ClampedArray, which rounds), width, height}; `tell` hears the share that is done.
export async function develop(network, weights, raw, knobs, tell = () => {}, window = WINDOW) {
  await network.use(weights);
  const planes = await makePlanes(network.call, raw, knobs, weights.headroom, (share) => tell(share * PREPARING));
  const [top, left, bottom, right] = raw.crop;
  const [high, wide] = [bottom - top, right - left];
  const isTurned = Boolean(raw.flip & 4);
  const width = isTurned ? high : wide;
  const height = isTurned ? wide : high;
  const data = new Uint8ClampedArray(4 * width * height);
  const write = (picture, across, rows, columns, scale) => {
    const [above, before] = raw.offset;
    for (let y = Math.max(rows.first * scale - above, top); y < Math.min(rows.last * scale - above, bottom); y++) {
      const line = raw.flip & 2 ? bottom - 1 - y : y - top;
      for (let x = Math.max(columns.first * scale - before, left); x < Math.min(columns.last * scale - before, right); x++) {
        const place = raw.flip & 1 ? right - 1 - x : x - left;
        const to = 4 * (isTurned ? place * width + line : line * width + place);
        const from = 3 * ((y + above - rows.start * scale) * across + x + before - columns.start * scale);
        data[to] = 255 * picture[from];
        data[to + 1] = 255 * picture[from + 1];
        data[to + 2] = 255 * picture[from + 2];
        data[to + 3] = 255;
      }
    }
  };
  await runTiles(network.call, planes, weights, window, write, (share) => tell(PREPARING + share * (1 - PREPARING)));
  return { data, width, height };
}
