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

// Bytes of a key as a Uint8Array of its own memory (what a host hands over may not be aligned).
function bytes(model, key) {
  const view = model.get(key);
  return new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

// Set several keys and tell the kernel once.
function change(model, values) {
  for (const [key, value] of Object.entries(values)) model.set(key, value);
  model.save_changes();
}

// Call `listener` when one of the keys changes; the returned function stops that.
function watch(model, keys, listener) {
  for (const key of keys) model.on("change:" + key, listener);
  return () => keys.forEach((key) => model.off("change:" + key, listener));
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

function button(parent, label, onClick, title) {
  const node = element("button", "uk-button", parent, label);
  node.type = "button";
  if (title) node.title = title;
  node.addEventListener("click", onClick);
  return node;
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
  return [Math.min(Math.max(x, 0), width - 1e-3), Math.min(Math.max(y, 0), height - 1e-3)];
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

// Paint levels (0..255, one a pixel) on a canvas of that size, with `lut` (256 x RGB).
function paintLevels(canvas, levels, lut) {
  const context = canvas.getContext("2d");
  const cells = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < levels.length; i++) {
    const k = 3 * levels[i];
    cells.data[4 * i] = lut[k];
    cells.data[4 * i + 1] = lut[k + 1];
    cells.data[4 * i + 2] = lut[k + 2];
    cells.data[4 * i + 3] = 255;
  }
  context.putImageData(cells, 0, 0);
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
