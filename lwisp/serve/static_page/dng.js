// What libraw-wasm does not tell of a DNG: noise, black levels of each color, and whether there is more that is not used.

const SIZES = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8 }; // bytes, by TIFF's types
const MOST_DIRECTORIES = 16;
const MOST_VALUES = 64; // of a tag; longer ones are only known to be there
const SUB_DIRECTORIES = 330;
const COLOR_FILTERS = 32803;
const OPCODE_LISTS = [51008, 51009, 51022];
const DELTAS = [50715, 50716];

// Tags of a DNG's first directory with those of its mosaic over them, by number: arrays of numbers. Empty of other files.
export function readTags(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8) return new Map();
  const isLittle = bytes[0] === 0x49;
  if (view.getUint16(2, isLittle) !== 42) return new Map();
  const waiting = [view.getUint32(4, isLittle)];
  const directories = [];
  while (waiting.length && directories.length < MOST_DIRECTORIES) {
    const tags = readDirectory(view, waiting.shift(), isLittle);
    directories.push(tags);
    waiting.push(...(tags.get(SUB_DIRECTORIES) ?? []));
  }
  if (!directories[0]?.has(50706)) return new Map(); // DNGVersion
  const main = directories.find((tags) => tags.get(262)?.[0] === COLOR_FILTERS && !(tags.get(254)?.[0] ?? 0));
  return new Map([...directories[0], ...(main ?? [])]);
}

function readDirectory(view, place, isLittle) {
  const tags = new Map();
  if (place + 2 > view.byteLength) return tags;
  const count = view.getUint16(place, isLittle);
  for (let entry = place + 2; entry + 12 <= Math.min(place + 2 + 12 * count, view.byteLength); entry += 12) {
    const type = view.getUint16(entry + 2, isLittle);
    const values = view.getUint32(entry + 4, isLittle);
    const size = SIZES[type];
    if (!size) continue;
    const start = size * values <= 4 ? entry + 8 : view.getUint32(entry + 8, isLittle);
    const isShort = values <= MOST_VALUES && start + size * values <= view.byteLength;
    tags.set(view.getUint16(entry, isLittle), Array.from({ length: isShort ? values : 0 }, (_, index) => valueAt(view, start + size * index, type, isLittle)));
  }
  return tags;
}

function valueAt(view, place, type, isLittle) {
  if (type === 3) return view.getUint16(place, isLittle);
  if (type === 4) return view.getUint32(place, isLittle);
  if (type === 5) return view.getUint32(place, isLittle) / view.getUint32(place + 4, isLittle);
  if (type === 8) return view.getInt16(place, isLittle);
  if (type === 9) return view.getInt32(place, isLittle);
  if (type === 10) return view.getInt32(place, isLittle) / view.getInt32(place + 4, isLittle);
  if (type === 11) return view.getFloat32(place, isLittle);
  if (type === 12) return view.getFloat64(place, isLittle);
  return view.getUint8(place);
}

// [shot, read] of green from the file's NoiseProfile; null where there is none that makes sense.
export function noiseProfile(tags) {
  const found = tags.get(51041) ?? [];
  const [shot, read] = found.length === 6 ? found.slice(2, 4) : found.length === 2 ? found : [-1, -1];
  return shot >= 0 && shot <= 1 && read >= 0 && read <= 1 && shot + read > 0 ? [shot, read] : null;
}

// Black levels in DN by the places of R, Gr, Gb, B; null where LibRaw's one level has to do.
export function blackLevels(tags, places) {
  const [rows, columns] = tags.get(50713) ?? [1, 1];
  const levels = tags.get(50714) ?? [];
  if (rows > 2 || columns > 2 || levels.length !== rows * columns || !levels.every((level) => level >= 0)) return null;
  return places.map(([row, column]) => levels[(row % rows) * columns + (column % columns)]);
}

// Sentences on what the file asks for and is not done here.
export function leftOut(tags) {
  const notes = [];
  if (OPCODE_LISTS.some((tag) => tags.has(tag))) {
    notes.push("What the file says of its lens (opcode lists) is not applied here: corners may be darker than lwisp develop's.");
  }
  const hasDeltas = DELTAS.some((tag) => tags.get(tag)?.length === 0 || tags.get(tag)?.some((value) => value !== 0)); // long or not zero
  if (hasDeltas || Math.max(...(tags.get(50713) ?? [1])) > 2) {
    notes.push("Black levels of single rows or columns are not applied here; lwisp develop does it.");
  }
  return notes;
}
