// The check on load: known inputs must give what lwisp itself gave for them when it wrote this folder.

import { colorMatrix } from "./color.js";
import { develop } from "./develop.js";
import { fetchFile } from "./network.js";
import { complete, patternAt } from "./raw.js";

const ALLOWED = 1; // of 255, between pixels
const SAME = 1e-3; // relative, between other numbers
const FRESH = { exposure: 0, highlights: 1, noise_reduction: 1 };

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const isNear = (found, expected) => found.every((value, index) => Math.abs(value - expected[index]) <= SAME * Math.max(1e-3, Math.abs(expected[index])));

export const readKnown = async () => (await fetchFile(new URL("./check.json", import.meta.url))).json();

// Develops the known mosaic with these weights; throws an error that says what differs. The largest difference of 255.
export async function check(network, weights, known, window) {
  for (const { color_data, gains, matrix } of known.colors) {
    const found = colorMatrix(color_data, gains);
    if (!found || !isNear(found.flat(), matrix.flat())) throw new Error("a color matrix comes out differently");
  }
  const { height, width } = known;
  const mosaic = new Uint16Array(bytesOf(known.mosaic).buffer);
  const raw = { ...known.raw, ...patternAt(0, 0), mosaic, height, width, flip: 0, crop: [0, 0, height, width] };
  complete(raw);
  if (raw.repaired !== known.repaired) throw new Error(`${raw.repaired} hot photosites are found instead of ${known.repaired}`);
  if (!isNear(raw.noise, known.noise)) throw new Error("the noise is measured differently");
  const picture = await develop(network, weights, raw, FRESH, undefined, window);
  const expected = bytesOf(known.pictures[weights.name]);
  let most = 0;
  for (let pixel = 0; pixel < height * width; pixel++) {
    for (let color = 0; color < 3; color++) {
      most = Math.max(most, Math.abs(picture.data[4 * pixel + color] - expected[3 * pixel + color]));
    }
  }
  if (most > ALLOWED) throw new Error(`the picture differs by ${most} of 255`);
  return most;
}
