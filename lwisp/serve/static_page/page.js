// The page: which photos there are, what each is made with, and what is shown of it. worker.js does the work.

const PAUSE = 400; // ms after the last change of a knob
const NAMES = ["exposure", "highlights", "noise_reduction"];
const FRESH = { exposure: 0, highlights: 1, noise_reduction: 1, weights: "photo-fast" };
const byId = (id) => document.getElementById(id);

let photos = []; // each: id, file, name, knobs, made (the knobs of its picture), state, share, jpeg (address), facts, notes, error
let chosen = null;
let working = null; // the photo that the worker has
let isReady = false;
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

const say = (message) => { byId("status").textContent = message; };
const warn = (message) => { byId("alert").textContent = message; };

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
    byId("limits").textContent = "The check failed: nothing is developed here.";
    warn(`This page does not work here: ${message.message}`);
    return;
  }
  const photo = photos.find((one) => one.id === message.id);
  if (message.kind === "png" || message.kind === "no png") {
    if (photo?.jpeg) photo.state = "done";
    if (message.kind === "no png") warn(`${photo?.name ?? "The photo"}: ${message.message}.`);
    else if (photo) save(URL.createObjectURL(message.png), nameOf(photo, "png"));
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
  warn("");
  for (const file of files) {
    photos.push({ id: ++count, file, name: file.name, knobs: { ...FRESH }, state: "queued", share: null, jpeg: "", facts: [], notes: [], error: "" });
  }
  if (!photos.length) return;
  document.body.classList.add("has-photos");
  byId("work").hidden = false;
  if (!chosen) choose(photos[0]);
  list();
  next();
}

function remove(photo) {
  photos = photos.filter((one) => one !== photo);
  if (photo.jpeg) URL.revokeObjectURL(photo.jpeg);
  if (chosen === photo) choose(photos[0] ?? null);
  byId("work").hidden = !photos.length;
  document.body.classList.toggle("has-photos", photos.length > 0);
  list();
}

function choose(photo) {
  chosen = photo;
  if (photo) {
    for (const name of NAMES) byId(name).value = photo.knobs[name];
    for (const radio of document.getElementsByName("speed")) radio.checked = radio.value === photo.knobs.weights;
  }
  showKnobs();
  show();
  list();
}

function stateOf(photo) {
  if (photo.state === "queued") return isReady ? "waiting" : "waiting for the check";
  if (photo.state === "developing") return `developing, ${Math.round(100 * (photo.share ?? 0))} %`;
  return photo.state === "done" ? "done" : photo.state;
}

function list() {
  const places = byId("photos");
  while (places.children.length > photos.length) places.lastChild.remove();
  photos.forEach((photo, index) => {
    const item = places.children[index] ?? places.appendChild(makeItem());
    item.classList.toggle("chosen", photo === chosen);
    const [pick, drop] = item.children;
    pick.setAttribute("aria-current", String(photo === chosen));
    pick.children[0].textContent = photo.name;
    pick.children[1].textContent = stateOf(photo);
    pick.children[1].classList.toggle("wrong", photo.state === "failed");
    pick.onclick = () => choose(photo);
    drop.setAttribute("aria-label", `Remove ${photo.name}`);
    drop.onclick = () => remove(photo);
  });
}

function makeItem() {
  const item = document.createElement("li");
  const pick = Object.assign(document.createElement("button"), { type: "button", className: "pick" });
  pick.append(Object.assign(document.createElement("span"), { className: "name" }), Object.assign(document.createElement("span"), { className: "state" }));
  const drop = Object.assign(document.createElement("button"), { type: "button", className: "remove", textContent: "\u00d7" });
  item.append(pick, drop);
  return item;
}

function show() {
  const photo = chosen;
  const isBusy = Boolean(photo) && ["queued", "decoding", "developing"].includes(photo.state);
  byId("picture-title").textContent = photo?.name ?? "Picture";
  byId("frame").hidden = !photo?.jpeg;
  byId("empty").hidden = Boolean(photo?.jpeg);
  if (photo?.jpeg && byId("after").src !== photo.jpeg) {
    byId("after").src = photo.jpeg;
    byId("after").alt = `${photo.name}, developed`;
    byId("frame").style.setProperty("--ratio", photo.width / photo.height);
    byId("frame").style.setProperty("--width", `${photo.width}px`);
  }
  byId("working").hidden = !isBusy;
  byId("step").textContent = photo ? stateOf(photo) : "";
  if (photo?.share == null) byId("progress").removeAttribute("value");
  else byId("progress").value = photo.share;
  byId("failure").hidden = !photo?.error;
  byId("failure").textContent = photo?.error ?? "";
  byId("notes").replaceChildren(...(photo?.notes ?? []).map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  byId("facts").replaceChildren(...(photo?.facts ?? []).flatMap(([name, value]) => [
    Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value }),
  ]));
  const isDone = photo?.state === "done";
  const jpeg = byId("jpeg");
  jpeg.setAttribute("aria-disabled", String(!isDone));
  if (isDone) Object.assign(jpeg, { href: photo.jpeg, download: nameOf(photo, "jpg") });
  else jpeg.removeAttribute("href");
  byId("png").disabled = !isDone;
}

function showKnobs() {
  for (const name of NAMES) {
    const value = Number(byId(name).value);
    byId(`${name}-value`).textContent = name === "exposure" ? `${value > 0 ? "+" : ""}${value.toFixed(1)} EV` : value.toFixed(2);
  }
}

function changed() {
  showKnobs();
  const photo = chosen;
  if (!photo) return;
  for (const name of NAMES) photo.knobs[name] = Number(byId(name).value);
  photo.knobs.weights = document.querySelector("[name=speed]:checked").value;
  clearTimeout(timer);
  timer = setTimeout(() => again(photo), PAUSE);
}

function again(photo) {
  if (working?.id === photo.id) { // with other knobs, once it is done
    timer = setTimeout(() => again(photo), PAUSE);
    return;
  }
  if (photo.made && JSON.stringify(photo.made) === JSON.stringify(photo.knobs)) return;
  photo.state = "queued";
  next();
  show();
  list();
}

function nameOf(photo, suffix) {
  return `${photo.name.replace(/\.[^.]*$/, "") || "photo"}.${suffix}`;
}

function save(address, name) {
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

byId("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
byId("knobs").addEventListener("input", changed);
byId("knobs").addEventListener("reset", () => setTimeout(changed));
byId("png").addEventListener("click", () => {
  const { id, file, made } = chosen;
  const { weights, ...knobs } = made;
  worker.postMessage({ kind: "png", id, file, knobs, weights });
  say(`The PNG of ${chosen.name} is being made.`);
});
byId("zoom").addEventListener("click", () => {
  const isActual = byId("scroll").classList.toggle("actual");
  byId("zoom").setAttribute("aria-pressed", String(isActual));
});
window.addEventListener("dragenter", () => document.body.classList.add("dragging"));
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  add(event.dataTransfer.files);
});
showKnobs();
