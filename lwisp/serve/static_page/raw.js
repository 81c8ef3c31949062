// A RAW file -> its mosaic and what is needed to develop it, by libraw-wasm.

import LibRaw from "./vendor/libraw-wasm/dist/index.js";
import { colorMatrix } from "./color.js";
import { isCrw, nameOf, tableOf } from "./crw.js";
import { blackLevels, leftOut, noiseProfile, readTags } from "./dng.js";
import { repairHotPixels } from "./hot_pixels.js";
import { estimateNoise } from "./noise.js";

export const MOST_PIXELS = 64e6; // the page's other arrays take 20 bytes of memory for each
const LARGEST_FILE = 300e6; // bytes
const DECODING = 120000; // ms
const SITES = { RGBG: [0, 1, 2, 1], RGGB: [0, 1, 2, 1] }; // of LibRaw's color numbers by their names: R 0, G 1, B 2

const NO_MEMORY = /allocat|sufficient memory|out of memory/i; // how browsers and LibRaw say it; another trap is the file's doing

export class Refusal extends Error {}

function within(promise, milliseconds, message) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Refusal(message)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The RAW: mosaic (Uint16Array), width, height, places and offset of its pattern, levels, gains, matrix, noise, flip,
// crop, facts and notes. Throws a `Refusal`, whose message is a sentence.
export async function readRaw(file) {
  if (file.size === 0) throw new Refusal("the file is empty, or a folder");
  if (file.size > LARGEST_FILE) throw new Refusal(`the file has ${(file.size / 1e6).toFixed(0)} MB, more than a browser takes`);
  const libraw = new LibRaw();
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const name = isCrw(bytes) ? nameOf(bytes) : "";
    const tags = readTags(bytes);
    const [metadata, sensor] = await within(decode(libraw, bytes, name), DECODING, "it took too long to decode; lwisp develop may do it");
    return describe(metadata, sensor, tags);
  } finally {
    libraw.dispose();
  }
}

async function decode(libraw, bytes, name) { // `bytes` are gone to another worker after it
  let metadata;
  try {
    await libraw.open(bytes, {});
    metadata = await libraw.metadata(true);
  } catch (error) {
    throw reasonOf(error, `no RAW photo that LibRaw knows (${error.message})`);
  }
  if (!metadata) throw new Refusal("no RAW photo that LibRaw knows");
  checkSize(metadata);
  const sensor = await libraw.rawImageData().catch((error) => {
    throw reasonOf(error, `LibRaw cannot decode it (${error.message}): it is damaged, or of a kind that only lwisp develop reads`);
  });
  if (!sensor || !sensor.data || sensor.data.length < sensor.raw_width * sensor.raw_height) {
    throw new Refusal("no mosaic that can be decoded: it is cut short or damaged, or of a kind that only lwisp develop reads");
  }
  metadata = await libraw.metadata(true); // black levels are known now
  if (name) {
    metadata.camera_model = name;
    metadata.color_data.cam_xyz = await tableOf(libraw, name);
  }
  return [metadata, sensor];
}

const reasonOf = (error, sentence) => (NO_MEMORY.test(error.message) ? error : new Refusal(sentence));

function checkSize({ raw_width, raw_height, width, height }) {
  const pixels = Math.max(raw_width * raw_height, width * height);
  if (!(pixels > 0 && Math.min(width, height) >= 2)) throw new Refusal("no RAW photo that LibRaw knows");
  if (pixels > MOST_PIXELS) {
    throw new Refusal(`the file says ${width} x ${height} pixels, more than a browser's memory holds; take lwisp develop`);
  }
}

function describe(metadata, sensor, tags) {
  const { color_data: color } = metadata;
  const { width, height } = sensor;
  const notes = leftOut(tags);
  const { places, offset } = patternOf(metadata);
  const [red, green, blue] = color.cam_mul;
  if (!(Math.min(red, green, blue) > 0 && [red, green, blue].every(Number.isFinite))) {
    throw new Refusal("no white balance of the camera's that a browser can read; lwisp develop finds one");
  }
  const gains = [red / green, 1, blue / green];
  let matrix = colorMatrix(color, gains);
  if (!matrix) {
    notes.push("No color matrix for this camera is known here: its colors are taken as they are. lwisp develop may know one.");
    matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  }
  const specular = metadata.canon?.SpecularWhiteLevel ?? 0;
  const white = specular > 0 && specular <= color.maximum ? specular : color.maximum;
  const black = blackLevels(tags, places) ?? Array(4).fill(color.black);
  if (!(white > Math.max(...black))) throw new Refusal("its black and white levels make no sense; it is damaged");
  const raw = {
    mosaic: visible(sensor), width, height, places, offset, gains, matrix, notes,
    black, white: Array(4).fill(white), noise: noiseProfile(tags),
    flip: metadata.flip & 7, crop: cropOf(metadata, sensor), facts: factsOf(metadata),
  };
  if (raw.mosaic.every((value) => value === raw.mosaic[0])) throw new Refusal("all photosites have one value: no picture");
  if (Math.abs(metadata.pixel_aspect - 1) > 1e-3) notes.push("Its pixels are not square, and are shown as if they were.");
  complete(raw);
  return raw;
}

// What is measured of the mosaic: defects are repaired in it, then its noise is estimated where the file does not tell it.
export function complete(raw) {
  raw.repaired = repairHotPixels(raw);
  raw.noise ??= estimateNoise(raw);
}

// The places of R, Gr, Gb, B in the top-left 2x2, and the row and column of the first red one.
function patternOf({ filters, cdesc, colors, is_foveon }) {
  const colorsOf = SITES[cdesc];
  const bits = filters >>> 0;
  const sites = [0, 1, 2, 3].map((place) => colorsOf?.[(bits >>> (2 * (2 * (place >> 1) + (place & 1)))) & 3]);
  const isRepeated = [8, 16, 24].every((shift) => ((bits >>> shift) & 255) === (bits & 255));
  const red = sites.indexOf(0);
  if (is_foveon || colors !== 3 || bits < 1000 || !isRepeated || sites[3 - red] !== 2 || sites.filter((site) => site === 1).length !== 2) {
    throw new Refusal("no Bayer mosaic of red, green and blue; lwisp develop reads other RAWs");
  }
  return patternAt(red >> 1, red & 1);
}

// The same from the place of the first red photosite.
export function patternAt(row, column) {
  return { offset: [row, column], places: [[row, column], [row, 1 - column], [1 - row, column], [1 - row, 1 - column]] };
}

function visible({ data, raw_width, top_margin, left_margin, width, height }) {
  if (raw_width === width && !top_margin && !left_margin) return data.subarray(0, width * height);
  const mosaic = new Uint16Array(width * height);
  for (let row = 0; row < height; row++) {
    const start = (row + top_margin) * raw_width + left_margin;
    mosaic.set(data.subarray(start, start + width), row * width);
  }
  return mosaic;
}

// What the camera's own pictures show: [top, left, bottom, right] of the visible area.
function cropOf(metadata, { width, height, top_margin, left_margin }) { // metadata's own sides are the turned picture's
  const [x, y, w, h] = metadata.color_data.dng_levels.default_crop.map((value) => Math.floor(value + 0.5));
  const inset = metadata.raw_inset_crops[0];
  let found = [0, 0, height, width];
  if (metadata.dng_version && w > 0 && h > 0) found = [y, x, y + h, x + w];
  else if (inset && inset.cwidth && inset.cheight) {
    const [top, left] = [inset.ctop - top_margin, inset.cleft - left_margin];
    found = [top, left, top + inset.cheight, left + inset.cwidth];
  }
  const crop = [Math.max(found[0], 0), Math.max(found[1], 0), Math.min(found[2], height), Math.min(found[3], width)];
  return crop[2] - crop[0] < 2 || crop[3] - crop[1] < 2 ? [0, 0, height, width] : crop;
}

function factsOf(metadata) {
  const { camera_make: make, camera_model: model, iso_speed: iso, shutter, aperture, focal_len: focal } = metadata;
  const speed = shutter < 0.3 ? `1/${Math.round(1 / shutter)} s` : `${shutter.toFixed(1)} s`;
  return [
    ["Camera", model.toLowerCase().startsWith(make.split(" ")[0].toLowerCase()) ? model : `${make} ${model}`.trim()],
    ["Exposure", shutter > 0 ? speed : ""],
    ["Aperture", aperture > 0 ? `f/${aperture.toFixed(1)}` : ""],
    ["ISO", iso > 0 ? String(Math.round(iso)) : ""],
    ["Focal length", focal > 0 ? `${focal.toFixed(1)} mm` : ""],
  ].filter(([, value]) => value);
}
