// The color matrix of Canon's CRW files. LibRaw's reader of them seeks by a negative `size_t`, which leads astray where it
// has 32 bits, as in WebAssembly: the camera's name is lost, and with it the matrix. Here the name is found, and LibRaw's
// table asked by a small TIFF of that name.

const HEAD = [0x49, 0x49, 0x1a, 0, 0, 0, ..."HEAPCCDR"].map((part) => (typeof part === "string" ? part.charCodeAt(0) : part));
const NAME = /Canon\0(Canon [ -~]{2,40})\0/;
const SIDE = 64; // photosites; fewer LibRaw takes for no picture

export const isCrw = (bytes) => HEAD.every((value, index) => bytes[index] === value);

// "Canon PowerShot S40" or the like; "" where there is none.
export const nameOf = (bytes) => NAME.exec(new TextDecoder("latin1").decode(bytes))?.[1] ?? "";

// LibRaw's `cam_xyz` of a camera of this name; `libraw` has no other file.
export async function tableOf(libraw, name) {
  await libraw.open(smallTiff("Canon\0", `${name}\0`), {});
  return (await libraw.metadata(true)).color_data.cam_xyz;
}

function smallTiff(make, model) {
  const entries = [ // tag, type, count, value
    [254, 4, 1, 0], [256, 3, 1, SIDE], [257, 3, 1, SIDE], [258, 3, 1, 16], [259, 3, 1, 1], [262, 3, 1, 32803],
    [271, 2, make.length, 0], [272, 2, model.length, 0], [273, 4, 1, 0], [277, 3, 1, 1], [278, 3, 1, SIDE], [279, 4, 1, 2 * SIDE * SIDE],
  ];
  const places = { 271: 14 + 12 * entries.length };
  places[272] = places[271] + make.length + (make.length % 2);
  places[273] = places[272] + model.length + (model.length % 2);
  const bytes = new Uint8Array(places[273] + 2 * SIDE * SIDE);
  const view = new DataView(bytes.buffer);
  bytes.set([0x49, 0x49, 42, 0, 8, 0, 0, 0, entries.length, 0]);
  entries.forEach(([tag, type, count, value], index) => {
    const place = 10 + 12 * index;
    view.setUint16(place, tag, true);
    view.setUint16(place + 2, type, true);
    view.setUint32(place + 4, count, true);
    view.setUint32(place + 8, places[tag] ?? value, true);
  });
  const coder = new TextEncoder();
  bytes.set(coder.encode(make), places[271]);
  bytes.set(coder.encode(model), places[272]);
  return bytes;
}
