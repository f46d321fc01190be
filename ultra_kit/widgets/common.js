// Helpers that stand in front of every view's script. They take text as text and ask for nothing.

function element(tag, className, parent, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

// The root of a view: every view has one, and everything of it lies inside.
function makeRoot(el, title, hint) {
  const root = element("section", "uk-view", el);
  root.tabIndex = -1; // a click anywhere in it leaves the keys at work
  if (title) element("h2", "uk-title", root, title);
  if (hint) element("p", "uk-hint", root, hint);
  return root;
}

// The memory of a DataView as a buffer of its own (what a host hands over may not be aligned).
function owned(view) {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
}

function bytes(model, key) {
  return new Uint8Array(owned(model.get(key)));
}

// Set several keys and tell the kernel once.
function change(model, values) {
  for (const [key, value] of Object.entries(values)) model.set(key, value);
  model.save_changes();
}

// A line that says that there is no kernel behind the page, if so, and what that means here.
function notConnected(model, parent, meaning) {
  if (!model.get("has_kernel")) element("p", "uk-note uk-alone", parent, `Not connected to Python: ${meaning}`);
}

// Call `listener` when one of the keys changes; the returned function stops that.
function watch(model, keys, listener) {
  for (const key of keys) model.on("change:" + key, listener);
  return () => keys.forEach((key) => model.off("change:" + key, listener));
}

// Talk with the kernel, if there is one: `ask(message, said)` sends a question once until an answer comes, and says so in
// `caption`; answers go to `take(content, buffers)`, errors into `caption`.
function talk(model, caption, take) {
  const asked = new Set();
  const heard = (content, buffers) => {
    asked.clear();
    if (content.error) caption.textContent = content.error;
    take(content, buffers);
  };
  model.on("msg:custom", heard);
  return {
    ask: (message, said) => {
      if (!model.get("has_kernel")) return;
      if (said) caption.textContent = said;
      if (!asked.has(JSON.stringify(message))) model.send(message);
      asked.add(JSON.stringify(message));
    },
    waits: () => asked.size > 0,
    stop: () => model.off("msg:custom", heard),
  };
}

// Set a key to the option after the one it has, or `by` further; `round` begins again at the end.
function step(model, key, options, by, round) {
  const at = options.indexOf(model.get(key)) + by;
  const next = round ? (at + options.length) % options.length : at;
  if (next >= 0 && next < options.length) change(model, { [key]: options[next] });
}

// Steps that can be undone: the values of `keys` before each stand in the model's `history`.
function makeHistory(model, keys) {
  const past = () => model.get("history");
  const now = () => Object.fromEntries(keys.map((key) => [key, model.get(key)]));
  return {
    now,
    act: (values, before = now()) => change(model, { history: [...past(), before].slice(-50), ...values }),
    undo: () => { if (past().length) change(model, { ...past()[past().length - 1], history: past().slice(0, -1) }); },
  };
}

// Maps by key, those of the page's `books` and those that the kernel sends later. `parts` names the arrays of a book
// and their types; a book has, in `widths`, the numbers of each that belong to one of its `rows`.
function makeShelf(model, parts, keyOf) {
  const shelf = new Map();
  const about = (key) => shelf.get(JSON.stringify(key)) || { rows: new Map() };
  function add(book, arrays) {
    const { rows } = about(keyOf(book));
    book.rows.forEach((row, i) => {
      rows.set(row, arrays.map((array, k) => array.subarray(i * book.widths[k], (i + 1) * book.widths[k])));
    });
    shelf.set(JSON.stringify(keyOf(book)), { ...about(keyOf(book)), ...book, rows });
  }
  let rest = parts.map(([name, type]) => new type(owned(model.get(name))));
  for (const book of model.get("books")) {
    add(book, rest);
    rest = rest.map((array, k) => array.subarray(book.rows.length * book.widths[k]));
  }
  return {
    about, // what is told of a book, with `rows`, a Map
    books: () => [...shelf.values()],
    has: (test) => [...shelf.values()].some(test),
    find: (key, row) => about(key).rows.get(row), // one array per part, or undefined
    take: (book, buffers) => add(book, buffers.map((buffer, k) => new parts[k][1](owned(buffer)))),
    note: model.get("left_out") && !model.get("has_kernel") ? ` ${model.get("left_out")} further maps are not in this file.` : "",
  };
}

// The controls: each is a labelled element of HTML with a `set(value)` that calls nobody.
function labelled(parent, label) {
  const box = element("label", "uk-control", parent);
  element("span", "uk-label", box, label);
  return box;
}

function slider(parent, label, { min, max, step = 1, value, format = String }, onInput) {
  const box = labelled(parent, label);
  const input = element("input", "", box);
  const shown = element("output", "uk-value", box);
  Object.assign(input, { type: "range", min, max, step, value });
  const set = (to) => {
    input.value = to;
    shown.textContent = format(Number(input.value));
  };
  set(value);
  input.addEventListener("input", () => {
    shown.textContent = format(Number(input.value));
    onInput(Number(input.value));
  });
  return { box, input, set };
}

// `options` is a list of [value, text].
function choice(parent, label, options, value, onChange) {
  const box = labelled(parent, label);
  const input = element("select", "", box);
  for (const [key, text] of options) element("option", "", input, text).value = key;
  const set = (to) => { input.value = to; };
  set(value);
  input.addEventListener("change", () => onChange(input.value));
  return { box, input, set };
}

function toggle(parent, label, value, onChange) {
  const box = labelled(parent, label);
  const input = element("input", "", box);
  input.type = "checkbox";
  const set = (to) => { input.checked = to; };
  set(value);
  input.addEventListener("change", () => onChange(input.checked));
  return { box, input, set };
}

// Controls of the model's keys: `bind(key, make)` gives `make` what sets the key, and `follow()` brings all controls
// back in step with the model. `shown` and `meant` translate from the key's value to the control's, and back.
function makeBinder(model) {
  const bound = [];
  return {
    bind: (key, make, shown = (value) => value, meant = (value) => value) => {
      const control = make((value) => change(model, { [key]: meant(value) }));
      bound.push(() => control.set(shown(model.get(key))));
    },
    follow: () => bound.forEach((bring) => bring()),
  };
}

function bindLayer(binder, parent, layers, format) {
  if (layers.length < 2) return;
  const range = { min: 0, max: layers.length - 1, value: 0, format: (i) => format(layers[i]) };
  binder.bind("layer", (set) => slider(parent, "Layer", range, set), (layer) => layers.indexOf(layer), (i) => layers[i]);
}

const sameText = (texts) => texts.map((text) => [text, text]); // options that are shown as they are

function button(parent, label, onClick, title) {
  const node = element("button", "uk-button", parent, label);
  node.type = "button";
  if (title) node.title = title;
  node.addEventListener("click", onClick);
  return node;
}

// What keys do anywhere in a view but in its inputs: `does` maps a key to what it does, which returns false where the
// key is not meant.
function onKeys(root, does) {
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) return;
    if (!Object.hasOwn(does, event.key) || does[event.key](event) === false) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

// The four arrow keys, as `move(rows, columns)`.
function arrows(move) {
  return { ArrowLeft: () => move(0, -1), ArrowRight: () => move(0, 1), ArrowUp: () => move(-1, 0), ArrowDown: () => move(1, 0) };
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// The colour #rrggbb as [red, green, blue].
function rgbOf(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// A line that says which keys do what; `keys` is a list of [key, what it does].
function keyHelp(parent, keys) {
  const line = element("p", "uk-keys", parent, "Keys: ");
  keys.forEach(([key, text], i) => {
    element("kbd", "", line, key);
    line.append(` ${text}${i < keys.length - 1 ? " · " : ""}`);
  });
}

// The address of a picture in memory; give it back with URL.revokeObjectURL.
function pictureAddress(data) {
  return URL.createObjectURL(new Blob([data]));
}

// An image in a frame that the pointer and the keyboard can reach; a tall one is kept within a screen.
function pictureBox(parent, address, aspect, label) {
  const box = element("div", "uk-picture", parent);
  box.style.aspectRatio = String(aspect);
  box.style.maxWidth = `${30 * aspect}rem`;
  if (address) {
    const image = element("img", "uk-input", box);
    image.src = address;
    image.alt = label;
    image.draggable = false;
  }
  return box;
}

// Make a picture one that is pointed at and reached by keys; the label says what they do.
function pointAtIt(box, label) {
  box.classList.add("uk-pointed");
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-label", label);
}

// A figure with a caption.
function makeFigure(parent, text) {
  const panel = element("figure", "uk-panel", parent);
  return { panel, heading: element("figcaption", "", panel, text) };
}

// The line that says what is shown, also to those who do not see it.
function makeCaption(root) {
  const caption = element("p", "uk-caption", root);
  caption.setAttribute("aria-live", "polite");
  return caption;
}

// The cell of an (h, w) grid under the pointer, or -1.
function cellAt(event, box, h, w) {
  const place = box.getBoundingClientRect();
  const column = Math.floor(((event.clientX - place.left) / place.width) * w);
  const row = Math.floor(((event.clientY - place.top) / place.height) * h);
  return row >= 0 && row < h && column >= 0 && column < w ? row * w + column : -1;
}

// The point under the pointer as [x, y] in pixels of an image of [height, width].
function pointAt(event, box, [height, width]) {
  const place = box.getBoundingClientRect();
  const x = ((event.clientX - place.left) / place.width) * width;
  const y = ((event.clientY - place.top) / place.height) * height;
  return [clamp(x, 0, width - 1e-3), clamp(y, 0, height - 1e-3)];
}

// Lay an element over one cell of a grid.
function placeOver(node, cell, h, w) {
  const column = cell % w;
  const row = Math.floor(cell / w);
  node.style.left = `${(100 * column) / w}%`;
  node.style.top = `${(100 * row) / h}%`;
  node.style.width = `${100 / w}%`;
  node.style.height = `${100 / h}%`;
}

// Paint every pixel of a canvas: `colour(i)` is [red, green, blue, opacity].
function paint(canvas, colour) {
  const context = canvas.getContext("2d");
  const cells = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i++) cells.data.set(colour(i), 4 * i);
  context.putImageData(cells, 0, 0);
}

// Paint levels (0..255, one per pixel) with `lut` (256 x RGB).
function paintLevels(canvas, levels, lut) {
  paint(canvas, (i) => [lut[3 * levels[i]], lut[3 * levels[i] + 1], lut[3 * levels[i] + 2], 255]);
}

// PyTorch's bicubic resizing of n samples to m (a = -0.75, edges repeated): of each the four neighbours and their weights.
function bicubicTaps(n, m) {
  const near = (t) => (1.25 * t - 2.25) * t * t + 1;
  const far = (t) => ((-0.75 * t + 3.75) * t - 6) * t + 3;
  return Array.from({ length: m }, (_, i) => {
    const at = ((i + 0.5) * n) / m - 0.5;
    const low = Math.floor(at);
    const t = at - low;
    return [[-1, 0, 1, 2].map((d) => clamp(low + d, 0, n - 1)), [far(t + 1), near(t), near(1 - t), far(2 - t)]];
  });
}

// An image as a grey texture to lay over flat colours: every pixel is `grey` (0 or 255), the more opaque the
// brighter (255) or the darker (0) the image is there, up to `most`. It looks as blending with the grey image
// does (screen or multiply), but is worked out once, where a browser would blend anew for every picture.
function greyTexture(parent, className, address, grey, most) {
  const canvas = element("canvas", `uk-input ${className}`, parent);
  canvas.hidden = !address;
  if (!address) return canvas;
  const image = new Image();
  image.onload = () => {
    Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const cells = context.getImageData(0, 0, canvas.width, canvas.height);
    const rgba = cells.data;
    for (let i = 0; i < rgba.length; i += 4) {
      const light = 0.2126 * rgba[i] + 0.7152 * rgba[i + 1] + 0.0722 * rgba[i + 2];
      rgba.fill(grey, i, i + 3);
      rgba[i + 3] = most * (grey ? light : 255 - light);
    }
    context.putImageData(cells, 0, 0);
  };
  image.src = address;
  return canvas;
}

// Change a text only where it differs: a browser lays out again what was set, even to the same.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A colour bar from 0 to a value with the name of what it measures; `set(value)` changes its end.
function legend(parent, lut, name) {
  const box = element("div", "uk-legend", parent);
  element("span", "", box, "0");
  const bar = element("canvas", "uk-bar", box);
  bar.width = 256;
  bar.height = 1;
  paintLevels(bar, Uint8Array.from({ length: 256 }, (_, i) => i), lut);
  const end = element("span", "uk-end", box);
  const unit = element("span", "uk-unit", box, name);
  return {
    bar,
    set: (value, text) => {
      say(end, Number(value).toPrecision(3));
      if (text !== undefined) say(unit, text);
    },
  };
}

// Hand a file to the reader.
function download(blob, name) {
  const link = element("a", "");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A drawing as SVG: `node(tag, attributes, text)` adds to it, `text` is its source.
function drawing(width, height) {
  const ns = "http:" + "//www.w3.org/2000/svg";
  const make = (tag, attributes, parent, text) => {
    const made = document.createElementNS(ns, tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  };
  const size = { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "sans-serif" };
  const svg = make("svg", size);
  make("rect", { width, height, fill: "#fff" }, svg);
  return {
    width,
    height,
    node: (tag, attributes, text) => make(tag, attributes, svg, text),
    get text() { return new XMLSerializer().serializeToString(svg); },
  };
}

// What an <img> or a canvas shows, as an address that a drawing can hold.
function pictureData(source) {
  const width = source.naturalWidth || source.width;
  const height = source.naturalHeight || source.height;
  const canvas = element("canvas", "");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(source, 0, 0);
  return canvas.toDataURL("image/png");
}

// Two buttons that ask the kernel what becomes of what is chosen without what its map names, or with nothing else, and the
// answer, a picture under words: `ask({})` or `ask({ keep: true })` sends the question, and with a `curve`
// `ask({ curve: true })`. It goes once the keys of the state named in `keys` change.
function makeWhatIf(root, actions, model, keys, ask, curve = false) {
  const box = element("figure", "uk-what-if", root);
  const said = element("figcaption", "", box);
  said.setAttribute("aria-live", "polite");
  let image = null;
  const show = (text, address) => {
    if (image) {
      URL.revokeObjectURL(image.src);
      image.remove();
    }
    image = address ? Object.assign(element("img", "", box), { src: address, alt: text }) : null;
    say(said, text);
    box.hidden = !text;
  };
  const start = (how = {}) => {
    const rest = how.curve ? ", step by step," : "";
    show(model.get("has_kernel") ? `Running the model ${how.keep ? "with only" : "without"} what the map names${rest} ...`
      : `Not connected to Python: to ${how.keep ? "keep only" : "take away"} what the map names the model has to run again; view.live() in a notebook connects it.`);
    ask(how);
  };
  show("");
  button(actions, "Take away what this map names", () => start());
  button(actions, "Keep only what it names", () => start({ keep: true }));
  if (curve) button(actions, "Deletion curve", () => start({ curve: true }), "What becomes of this token as the patches that its map names go, the first first");
  const stop = watch(model, keys, () => show(""));
  return {
    start, stop,
    take: (content, buffers) => {
      if (content.error && !box.hidden) show(content.error);
      if (content.what_if) show(`${content.what_if[0].toUpperCase()}${content.what_if.slice(1)}.`, pictureAddress(owned(buffers[0])));
      return Boolean(content.what_if);
    },
  };
}

// Two buttons that save what `draw()` returns, a drawing, as PNG and as SVG.
function pictureButtons(parent, draw, name) {
  button(parent, "PNG", () => {
    const made = draw();
    const image = new Image();
    image.onload = () => {
      const canvas = element("canvas", "");
      Object.assign(canvas, { width: 2 * made.width, height: 2 * made.height });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => download(blob, `${name}.png`));
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(made.text);
  }, "Save this picture as PNG");
  button(parent, "SVG", () => download(new Blob([draw().text], { type: "image/svg+xml" }), `${name}.svg`),
    "Save this picture as SVG");
}
