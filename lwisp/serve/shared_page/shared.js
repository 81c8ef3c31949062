// What both pages do in the same way: files are dropped, photos are listed, and what is known of one is shown.

export const PAUSE = 400; // ms after the last change of a knob: keys change it step by step
export const byId = (id) => document.getElementById(id);

const WORDS = {
  exposure: (value) => `${value > 0 ? "+" : ""}${Number(value).toFixed(1)} EV`,
  highlights: (value) => `${Math.round(100 * value)} %`,
  noise_reduction: (value) => `${Math.round(100 * value)} %`,
};

export const SLIDERS = Object.keys(WORDS);

export function say(message) {
  byId("status").textContent = message;
}

export function warn(message) {
  byId("alert").textContent = message;
}

// ---- what is done on the page

// `add` gets the files that are dropped or chosen.
export function begin(add) {
  byId("files").onchange = () => {
    add(byId("files").files);
    byId("files").value = "";
  };
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    });
  }
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    add(event.dataTransfer.files);
  });
  byId("zoom").onclick = () => {
    const isActual = byId("scroll").classList.toggle("actual");
    byId("zoom").setAttribute("aria-pressed", String(isActual));
  };
  byId("knobs").onsubmit = (event) => event.preventDefault();
  showSliders();
}

export const speed = () => document.querySelector('input[name="speed"]:checked').value;

export function setSpeed(value) {
  document.querySelector(`input[name="speed"][value="${value}"]`).checked = true;
}

export function showSliders() {
  for (const [name, words] of Object.entries(WORDS)) {
    byId(`${name}-value`).textContent = words(byId(name).value);
    byId(name).setAttribute("aria-valuetext", words(byId(name).value));
  }
}

// ---- the list

export function listPhotos(photos) {
  document.body.classList.toggle("has-photos", photos.length > 0);
  byId("work").hidden = photos.length === 0;
  const items = photos.map((photo) => photo.item);
  for (const item of [...byId("photos").children]) if (!items.includes(item)) item.remove();
  byId("photos").append(...items.filter((item) => !item.isConnected)); // the others keep the focus
}

export function makeItem(name, choose, remove) {
  const item = document.createElement("li");
  const pick = make("button", { type: "button", className: "pick", onclick: choose });
  pick.append(make("span", { className: "name", textContent: name, title: name }), make("span", { className: "state" }));
  const close = make("button", { type: "button", className: "remove", textContent: "\u00d7", onclick: remove });
  close.setAttribute("aria-label", `Remove ${name}`);
  item.append(pick, close);
  return item;
}

export function showItem(item, words, isWrong, isChosen) {
  const state = item.querySelector(".state");
  state.textContent = words;
  state.classList.toggle("wrong", isWrong);
  item.classList.toggle("chosen", isChosen);
  item.querySelector(".pick").setAttribute("aria-current", String(isChosen));
}

// Where the keyboard goes when the photo that had it is gone.
export function focusList() {
  (document.querySelector("#photos .chosen .pick") || byId("files")).focus();
}

// ---- one photo

export function showTexts(name, facts, notes, error) {
  byId("picture-title").textContent = name;
  byId("facts").replaceChildren(...facts.flatMap(([term, value]) => [
    make("dt", { textContent: term }), make("dd", { textContent: value }),
  ]));
  byId("notes").replaceChildren(...notes.map((note) => make("li", { textContent: note })));
  byId("failure").hidden = !error;
  if (byId("failure").textContent !== error) byId("failure").textContent = error; // or it would be read again
}

// `share` of the work is done, null where nobody knows; `words` is empty where nothing is being done.
export function showProgress(words, share) {
  byId("working").hidden = !words;
  byId("step").textContent = words;
  if (share === null) byId("progress").removeAttribute("value");
  else byId("progress").value = share;
}

// `address` of the picture, empty where there is none yet.
export function showPicture(address, alt, empty) {
  byId("frame").hidden = !address;
  byId("empty").hidden = Boolean(address);
  byId("empty").textContent = empty;
  if (!address) return;
  setSource(byId("after"), address);
  byId("after").alt = alt;
}

export function setSource(image, address) {
  if (image.getAttribute("src") !== address) image.src = address;
}

export function linkJpeg(address, name) {
  const jpeg = byId("jpeg");
  if (address) Object.assign(jpeg, { href: address, download: name });
  else jpeg.removeAttribute("href");
  jpeg.setAttribute("aria-disabled", String(!address));
}

export function save(address, name) {
  make("a", { href: address, download: name }).click();
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

byId("after").onload = () => {
  const after = byId("after");
  byId("frame").style.setProperty("--ratio", after.naturalWidth / after.naturalHeight);
  byId("frame").style.setProperty("--width", `${after.naturalWidth / devicePixelRatio}px`);
};
