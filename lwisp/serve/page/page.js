import {
  PAUSE, begin, byId, focusList, linkJpeg, listPhotos, makeItem, save, say, setSource, setSpeed, showItem, showPicture,
  showProgress, showSliders, showTexts, speed, warn,
} from "./shared.js";

const AT_ONCE = 2; // files that are sent or worked on for this page at one time
const FRESH = { exposure: "0", highlights: "1", noise_reduction: "1", balance: "as-shot", kelvin: "5500", tint: "10", look: "", speed: "" };
const ENDED = ["done", "failed", "cancelled"];
const heard = new Map(); // the last that was told of each job, which may be before its own id is known here
const watcher = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

let settings = { upload: Infinity, suffixes: [], weights: [], looks: [] };
let photos = []; // in the order in which they were dropped
let chosen = null;

// A photo: file, name, knobs, state, sent (0 to 1), job (the picture that is shown), next (a picture that is being made),
// tiff (a TIFF that is being made), facts, error.

function isBusy(photo) {
  return photo.state === "sending" || photo.next !== null;
}

// ---- what the server tells

async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const told = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  const error = new Error(told.error);
  error.status = answer.status;
  error.wait = Number(answer.headers.get("Retry-After")) || 0;
  throw error;
}

function listen() {
  const events = new EventSource(`/events/${watcher}`);
  events.onmessage = (event) => {
    const job = JSON.parse(event.data);
    heard.set(job.id, job);
    heed(job);
  };
  events.onopen = () => warn("");
  events.onerror = () => warn("The server does not answer. Is lwisp serve still running?");
}

function heed(job) {
  for (const photo of photos) {
    if (photo.tiff && photo.tiff.id === job.id) heedTiff(photo, job);
    if (photo.next && photo.next.id === job.id) heedNext(photo, job);
  }
}

function adopt(photo, place, job) {
  photo[place] = job;
  if (place === "next") photo.state = job.state;
  if (heard.has(job.id)) heed(heard.get(job.id));
}

function heedNext(photo, job) {
  if (job.facts.length) photo.facts = job.facts;
  photo.hasCamera = job.has_camera;
  if (job.state === "developing" && photo.next.state !== "developing") photo.began = performance.now();
  photo.next = job;
  photo.state = job.state;
  if (ENDED.includes(job.state)) {
    photo.next = null;
    if (job.state === "done") {
      if (photo.job) forget(photo.job);
      photo.job = job;
      photo.error = "";
      say(`${photo.name} is developed, in ${job.seconds.toFixed(1)} seconds.`);
    } else if (job.state === "failed") {
      photo.error = job.error;
      say("");
    }
    work();
  }
  show(photo);
}

function heedTiff(photo, job) {
  photo.tiff = job;
  if (!ENDED.includes(job.state)) return;
  photo.tiff = null;
  if (job.state === "done") {
    save(`/jobs/${job.id}/picture`, "");
    say(`The TIFF of ${photo.name} is being saved.`);
    setTimeout(() => forget(job), 600000);
  } else if (job.state === "failed") {
    warn(job.error);
  }
  show(photo);
}

function forget(job) {
  fetch(`/jobs/${job.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

// ---- sending files, one after the other

function add(files) {
  warn("");
  const refused = [];
  for (const file of files) {
    if (file.size > settings.upload) {
      refused.push(`${file.name}: ${(file.size / 1e6).toFixed(0)} MB, more than the ${settings.upload / 1e6} MB that are taken`);
    } else if (file.size === 0) {
      refused.push(`${file.name}: the file is empty, or a folder`);
    } else {
      const photo = {
        file, name: file.name, knobs: { ...FRESH }, state: "queued", sent: 0, job: null, next: null, tiff: null, facts: [],
        hasCamera: false, error: "",
      };
      photo.item = makeItem(photo.name, () => choose(photo), () => remove(photo));
      photos.push(photo);
    }
  }
  if (refused.length) warn(`${refused.join("; ")}.`);
  if (!photos.length) return;
  if (!chosen) choose(photos[0]);
  list();
  work();
}

function work() {
  let busy = photos.filter(isBusy).length;
  for (const photo of photos) {
    if (busy >= AT_ONCE) break;
    if (photo.state === "queued") {
      busy += 1;
      send(photo);
    }
  }
}

function formOf(photo, format) {
  const form = new FormData();
  form.append("watcher", watcher);
  const knobs = photo.knobs;
  const white = knobs.balance === "kelvin" ? `${knobs.kelvin},${knobs.tint}` : knobs.balance;
  form.append("exposure", knobs.exposure);
  form.append("highlights", knobs.highlights);
  form.append("noise_reduction", knobs.noise_reduction);
  form.append("white_balance", white);
  const [kind, name] = knobs.look.split(/:(.*)/);
  if (name) form.append(kind, name);
  else if (knobs.speed === "fast") form.append("fast", "true");
  if (format) form.append("format", format);
  return form;
}

function send(photo) {
  photo.state = "sending";
  photo.sent = 0;
  const form = formOf(photo);
  form.append("file", photo.file, photo.name);
  const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
  photo.request = request;
  request.open("POST", "/jobs");
  request.responseType = "json";
  request.upload.onprogress = (event) => {
    photo.sent = event.lengthComputable ? event.loaded / event.total : 0;
    show(photo);
  };
  request.onload = () => {
    photo.request = null;
    const told = request.response || {};
    if (request.status === 202) {
      adopt(photo, "next", told);
    } else if (request.status === 429 || request.status === 507) {
      later(photo, Number(request.getResponseHeader("Retry-After")) || 5);
    } else {
      fail(photo, told.error || `${photo.name}: the server answered ${request.status}`);
    }
    show(photo);
    work();
  };
  request.onerror = () => {
    photo.request = null;
    fail(photo, `${photo.name}: could not be sent; is lwisp serve still running?`);
    show(photo);
    work();
  };
  request.send(form);
  say(`${photo.name} is being sent.`);
  show(photo);
}

function later(photo, seconds) {
  photo.state = "postponed";
  setTimeout(() => {
    if (photo.state === "postponed" && photos.includes(photo)) {
      photo.state = "queued";
      work();
    }
  }, 1000 * seconds);
}

function fail(photo, message) {
  photo.state = "failed";
  photo.error = message;
}

async function developAgain(photo) {
  if (photo.state === "queued" || photo.state === "postponed") return; // the knobs go with the file
  if (photo.state === "sending") {
    photo.isStale = true;
    return;
  }
  if (photo.next) forget(photo.next);
  const last = photo.job || photo.next;
  photo.next = null;
  if (!last) {
    photo.state = "queued"; // it failed before: send it again
    work();
    show(photo);
    return;
  }
  const turn = (photo.turn = (photo.turn || 0) + 1);
  photo.state = "waiting";
  photo.error = "";
  show(photo);
  try {
    const job = await ask(`/jobs/${last.id}/again`, { method: "POST", body: formOf(photo) });
    if (photo.turn !== turn) {
      forget(job);
      return;
    }
    adopt(photo, "next", job);
  } catch (error) {
    if (photo.turn !== turn) return;
    if (error.status === 404 || error.status === 410) {
      photo.job = null;
      photo.state = "queued"; // the server has forgotten it
      work();
    } else {
      fail(photo, error.message);
    }
  }
  show(photo);
}

async function makeTiff(photo) {
  try {
    photo.tiff = { id: "" };
    show(photo);
    const job = await ask(`/jobs/${photo.job.id}/again`, { method: "POST", body: formOf(photo, "tiff") });
    say(`The TIFF of ${photo.name} is being made.`);
    adopt(photo, "tiff", job);
  } catch (error) {
    photo.tiff = null;
    warn(error.message);
  }
  show(photo);
}

function remove(photo) {
  if (photo.request) photo.request.abort();
  for (const job of [photo.tiff, photo.next, photo.job]) if (job && job.id) forget(job);
  const place = photos.indexOf(photo);
  photos = photos.filter((other) => other !== photo);
  say(`${photo.name} is removed.`);
  if (chosen === photo) choose(photos[Math.min(place, photos.length - 1)] || null);
  list();
  work();
  focusList();
}

// ---- what is shown

const WORDS = {
  queued: "waits to be sent", postponed: "waits: the server is busy", waiting: "waits", reading: "is read", developing: "is developed",
  done: "done", cancelled: "cancelled", failed: "failed",
};

function stateOf(photo) {
  if (photo.state === "sending") return photo.sent < 1 ? `sent: ${Math.round(100 * photo.sent)} %` : "is received";
  if (photo.state === "waiting" && photo.next && photo.next.place) return `waits, ${photo.next.place} in the queue`;
  return WORDS[photo.state] || photo.state;
}

function list() {
  listPhotos(photos);
  photos.forEach(showState);
  byId("for-all").disabled = photos.length < 2;
}

function showState(photo) {
  showItem(photo.item, stateOf(photo), photo.state === "failed", photo === chosen);
}

function choose(photo) {
  chosen = photo;
  photos.forEach(showState);
  if (!photo) return;
  for (const [name, value] of Object.entries(photo.knobs)) {
    if (name === "speed") setSpeed(value);
    else byId(name).value = value;
  }
  showKnobs();
  show(photo);
}

function show(photo) {
  if (photo.isStale && photo.next) {
    photo.isStale = false;
    developAgain(photo);
    return;
  }
  showState(photo);
  if (photo !== chosen) return;
  showTexts(photo.name, photo.facts, photo.job ? photo.job.notes : [], photo.error);
  showWork(photo);
  showPictures(photo);
  linkJpeg(photo.job ? `/jobs/${photo.job.id}/picture` : "", "");
  byId("tiff").disabled = !photo.job || photo.tiff !== null;
  byId("tiff").textContent = photo.tiff ? "TIFF is being made" : "TIFF, 16 bits";
}

function showWork(photo) {
  const words = ENDED.includes(photo.state) ? "" : `${photo.name}: ${stateOf(photo)}`;
  let share = null;
  if (photo.state === "sending" && photo.sent < 1) {
    share = photo.sent;
  } else if (photo.state === "developing" && photo.next) {
    const seconds = (performance.now() - photo.began) / 1000;
    share = Math.min(0.97, seconds / photo.next.expected_seconds);
  }
  showProgress(words, share);
}

setInterval(() => {
  if (chosen && chosen.state === "developing") showWork(chosen);
}, 250);

function showPictures(photo) {
  const empty = photo.state === "failed" ? "No picture was made of this file." : "The picture appears here.";
  showPicture(photo.job ? `/jobs/${photo.job.id}/picture` : "", `${photo.name}, developed by lwisp`, empty);
  if (!photo.job) return;
  const cameraOption = byId("compare").querySelector('option[value="camera"]');
  cameraOption.disabled = !photo.hasCamera;
  let compare = byId("compare").value;
  if (compare === "camera" && !photo.hasCamera) compare = byId("compare").value = "before";
  const other = byId("other");
  for (const id of ["other", "other-tag", "handle", "split"]) byId(id).hidden = !compare;
  if (!compare) return;
  const words = compare === "camera" ? "the camera's JPEG" : "rawpy's default";
  setSource(other, `/jobs/${photo.job.id}/${compare}`);
  other.alt = `${photo.name}, ${words}`;
  byId("other-tag").textContent = words;
  showSplit();
}

function showSplit() {
  const split = byId("split");
  byId("frame").style.setProperty("--split", `${split.value}%`);
  split.setAttribute("aria-valuetext", `${split.value} % ${byId("other-tag").textContent}, ${100 - split.value} % lwisp`);
}

byId("other").onerror = () => {
  for (const id of ["other", "other-tag", "handle", "split"]) byId(id).hidden = true;
  say("There is no other picture to compare with.");
};
byId("split").oninput = showSplit;
byId("compare").onchange = () => chosen && showPictures(chosen);
// ---- knobs

function showKnobs() {
  showSliders();
  byId("kelvin-knobs").hidden = byId("balance").value !== "kelvin";
  byId("speed").disabled = byId("look").value !== "";
}

function readKnobs() {
  const knobs = {};
  for (const name of Object.keys(FRESH)) {
    knobs[name] = name === "speed" ? speed() : byId(name).value;
  }
  return knobs;
}

function setKnobs(photo, knobs) {
  if (JSON.stringify(photo.knobs) === JSON.stringify(knobs)) return;
  photo.knobs = { ...knobs };
  clearTimeout(photo.timer);
  photo.timer = setTimeout(() => photos.includes(photo) && developAgain(photo), PAUSE);
}

byId("knobs").oninput = showKnobs;
byId("knobs").onchange = () => {
  showKnobs();
  if (chosen && byId("kelvin").value && byId("tint").value) setKnobs(chosen, readKnobs());
};
byId("knobs").onreset = () => setTimeout(() => byId("knobs").onchange());
byId("for-all").onclick = () => {
  const knobs = readKnobs();
  photos.forEach((photo) => setKnobs(photo, knobs));
  say("All photos are developed with these knobs.");
};
byId("tiff").onclick = () => chosen && chosen.job && makeTiff(chosen);

// ---- beginning and ending

addEventListener("pagehide", () => {
  for (const photo of photos) for (const job of [photo.tiff, photo.next, photo.job]) if (job && job.id) forget(job);
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // brought back after its photos were given up
});

function offer(group, kind, names) {
  if (!names.length) return;
  const options = document.createElement("optgroup");
  options.label = group;
  for (const name of names) options.append(new Option(name, `${kind}:${name}`));
  byId("look").append(options);
}

async function start() {
  try {
    settings = await ask("/settings");
  } catch (error) {
    warn(error.message);
    return;
  }
  byId("limits").textContent = `DNG, CR3, NEF, ARW, RAF and others, up to ${settings.upload / 1e6} MB each.`;
  byId("files").accept = settings.suffixes.join(",");
  offer("Looks of cameras", "look", settings.looks);
  offer("Weights", "weights", settings.weights.filter((name) => !settings.looks.includes(name) && !name.startsWith("photo-")));
}

begin(add);
listen();
start();
