// The page: which photos there are, what each is made with, and what is shown of it. worker.js does the work.

import {
  PAUSE, SLIDERS, begin, byId, focusList, linkJpeg, listPhotos, makeItem, save, say, setSpeed, showItem, showPicture, showProgress,
  showSliders, showTexts, speed, warn,
} from "./shared.js";

const FRESH = { exposure: 0, highlights: 1, noise_reduction: 1, weights: "photo-fast" };

let photos = []; // each: id, file, name, knobs, made (the knobs of its picture), state, share, jpeg (address), facts, notes, error
let chosen = null;
let working = null; // the photo that the worker has
let isReady = false;
let isBroken = false;
let count = 0;
let timer = 0;

const program = new Blob([`import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`], { type: "text/javascript" });
let worker = start();

function start() {
  const begun = new Worker(URL.createObjectURL(program), { type: "module" });
  begun.onmessage = ({ data }) => heed(data);
  begun.onerror = (event) => heed({
    kind: "broken", message: `its program cannot be started (${event.message}); is the browser up to date, and the folder whole?`,
  });
  return begun;
}

function heed(message) {
  if (message.kind === "ready") {
    isReady = true;
    const engine = message.provider === "webgpu" ? "WebGPU" : "WebAssembly";
    byId("limits").textContent = `Checked: this browser gives lwisp's pixels (within ${message.most} of 255, by ${engine}). `
      + `Photos of up to ${message.pixels / 1e6} megapixels; nothing leaves this device.`;
    byId("limits").title = message.notes.join(" ");
    document.body.dataset.engine = message.provider;
    next();
    return;
  }
  if (message.kind === "broken") {
    isReady = false;
    isBroken = true;
    byId("files").disabled = true;
    byId("limits").textContent = "The check failed: nothing is developed here.";
    warn(`This page does not work here: ${message.message}.`);
    for (const photo of photos) {
      if (photo.state === "queued") Object.assign(photo, { state: "failed", error: `${photo.name}: not developed, for this page does not work here.` });
    }
    show();
    list();
    return;
  }
  const photo = photos.find((one) => one.id === message.id);
  if (message.kind === "png" || message.kind === "no png") {
    if (photo?.jpeg) photo.state = "done";
    if (message.kind === "no png") warn(`${photo?.name ?? "The photo"}: ${message.message}.`);
    else if (photo) savePng(photo, URL.createObjectURL(message.png));
  } else if (message.kind === "step") {
    if (photo) Object.assign(photo, { state: message.step, share: message.share });
  } else {
    const took = working;
    working = null;
    if (photo) finish(photo, message, took?.knobs);
    if (message.isFull) { // what was computing may be broken by it, and holds its memory until it ends
      worker.terminate();
      isReady = false;
      worker = start();
    }
    next();
  }
  if (photo) show();
  list();
}

function finish(photo, message, knobs) {
  if (message.kind === "failed") {
    Object.assign(photo, { state: "failed", error: `${photo.name}: ${message.message}.` });
    say("");
    return;
  }
  if (photo.jpeg) URL.revokeObjectURL(photo.jpeg);
  const { jpeg, width, height, seconds, facts, notes } = message;
  const pixels = ((width * height) / 1e6).toFixed(1);
  Object.assign(photo, { state: "done", jpeg: URL.createObjectURL(jpeg), width, height, facts, notes, error: "", made: knobs });
  photo.facts = [...facts, ["Picture", `${width} x ${height}`], ["Time taken", `${seconds.toFixed(1)} s`]];
  say(`${photo.name} is developed: ${pixels} megapixels in ${seconds.toFixed(1)} seconds.`);
}

function next() {
  if (!isReady || working) return;
  const waiting = photos.filter((photo) => photo.state === "queued");
  const photo = waiting.includes(chosen) ? chosen : waiting[0];
  if (!photo) return;
  photo.state = "decoding";
  photo.share = null;
  working = { id: photo.id, knobs: { ...photo.knobs } };
  const { weights, ...knobs } = photo.knobs;
  worker.postMessage({ kind: "develop", id: photo.id, file: photo.file, knobs, weights });
  show();
  list();
}

function add(files) {
  if (isBroken) return;
  warn("");
  for (const file of files) {
    const photo = { id: ++count, file, name: file.name, knobs: { ...FRESH }, state: "queued", share: null, jpeg: "", facts: [], notes: [], error: "" };
    photo.item = makeItem(photo.name, () => choose(photo), () => remove(photo));
    photos.push(photo);
  }
  if (!photos.length) return;
  if (!chosen) choose(photos[0]);
  list();
  next();
}

function remove(photo) {
  photos = photos.filter((one) => one !== photo);
  if (photo.jpeg) URL.revokeObjectURL(photo.jpeg);
  if (chosen === photo) choose(photos[0] ?? null);
  list();
  say(`${photo.name} is removed.`);
  focusList();
}

function choose(photo) {
  chosen = photo;
  if (photo) {
    for (const name of SLIDERS) byId(name).value = photo.knobs[name];
    setSpeed(photo.knobs.weights);
  }
  showSliders();
  show();
  list();
}

function stateOf(photo) {
  if (photo.state === "queued") return isReady ? "waiting" : "waiting for the check";
  if (photo.state === "developing") return `developing, ${Math.round(100 * (photo.share ?? 0))} %`;
  return photo.state === "done" ? "done" : photo.state;
}

function list() {
  listPhotos(photos);
  for (const photo of photos) showItem(photo.item, stateOf(photo), photo.state === "failed", photo === chosen);
}

function show() {
  const photo = chosen;
  const isBusy = Boolean(photo) && ["queued", "decoding", "developing"].includes(photo.state);
  showTexts(photo?.name ?? "Picture", photo?.facts ?? [], photo?.notes ?? [], photo?.error ?? "");
  showPicture(photo?.jpeg ?? "", `${photo?.name}, developed by lwisp`, photo?.error ? "No picture was made of this file." : "The picture appears here.");
  showProgress(isBusy ? `${photo.name}: ${stateOf(photo)}` : "", photo?.share ?? null);
  const isDone = photo?.state === "done";
  linkJpeg(isDone ? photo.jpeg : "", isDone ? nameOf(photo, "jpg") : "");
  byId("png").disabled = !isDone;
}

function changed() {
  showSliders();
  const photo = chosen;
  if (!photo) return;
  for (const name of SLIDERS) photo.knobs[name] = Number(byId(name).value);
  photo.knobs.weights = speed();
  clearTimeout(timer);
  timer = setTimeout(() => again(photo), PAUSE);
}

function again(photo) {
  if (working?.id === photo.id) { // with other knobs, once it is done
    timer = setTimeout(() => again(photo), PAUSE);
    return;
  }
  if (photo.made && JSON.stringify(photo.made) === JSON.stringify(photo.knobs)) return;
  Object.assign(photo, { state: "queued", error: "" });
  next();
  show();
  list();
}

function nameOf(photo, suffix) {
  return `${photo.name.replace(/\.[^.]*$/, "") || "photo"}.${suffix}`;
}

function savePng(photo, address) {
  save(address, nameOf(photo, "png"));
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

byId("knobs").oninput = changed;
byId("knobs").onreset = () => setTimeout(changed);
byId("png").onclick = () => {
  const { id, file, made } = chosen;
  const { weights, ...knobs } = made;
  worker.postMessage({ kind: "png", id, file, knobs, weights });
  say(`The PNG of ${chosen.name} is being made.`);
};
byId("limits").textContent = "The page is checking itself…";
begin(add);
