// What each token's map shows, under the mouse: the input beside the map of the patch pointed at.
// The same file runs in JupyterLab (anywidget) and in an exported page; it imports nothing.
//
// Model keys: image (bytes, PNG), values (bytes, float32 of shape (T, h * w)), lut (bytes, 256 x RGB),
// tokens (patch of each row), grid ([h, w]), aspect (width / height of the input), pinned (row).
// A cell's colour is lut[round(255 * value / largest of its row)].

function element(tag, className, parent) {
  const node = document.createElement(tag);
  node.className = className;
  parent.appendChild(node);
  return node;
}

function bytes(model, key) {
  const view = model.get(key);
  return new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function render({ model, el }) {
  const [h, w] = model.get("grid");
  const tokens = model.get("tokens");
  const values = new Float32Array(bytes(model, "values").buffer);
  const lut = bytes(model, "lut");
  const rowOf = new Map(tokens.map((patch, row) => [patch, row]));

  const root = element("div", "uk-maps", el);
  const stage = element("div", "uk-stage", root);
  const picture = element("div", "uk-picture", stage);
  const image = element("img", "uk-input", picture);
  const marker = element("div", "uk-marker", picture);
  const side = element("div", "uk-picture", stage);
  const canvas = element("canvas", "uk-map", side);
  const caption = element("p", "uk-caption", root);
  caption.setAttribute("aria-live", "polite");

  const address = URL.createObjectURL(new Blob([bytes(model, "image")], { type: "image/png" }));
  image.src = address;
  image.alt = "The input";
  image.draggable = false;
  picture.style.aspectRatio = side.style.aspectRatio = String(model.get("aspect"));
  picture.tabIndex = 0;
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d");

  function show(row) {
    const patch = tokens[row];
    const data = values.subarray(row * h * w, (row + 1) * h * w);
    const largest = data.reduce((a, b) => Math.max(a, b), 0);
    const cells = context.createImageData(w, h);
    for (let i = 0; i < h * w; i++) {
      const level = largest > 0 ? Math.round((255 * Math.max(data[i], 0)) / largest) : 0;
      cells.data.set([lut[3 * level], lut[3 * level + 1], lut[3 * level + 2], 255], 4 * i);
    }
    context.putImageData(cells, 0, 0);
    marker.style.left = `${(100 * (patch % w)) / w}%`;
    marker.style.top = `${(100 * Math.floor(patch / w)) / h}%`;
    marker.style.width = `${100 / w}%`;
    marker.style.height = `${100 / h}%`;
    caption.textContent = `Patch ${patch}, row ${Math.floor(patch / w)}, column ${patch % w}. Largest value ${largest.toPrecision(3)}.`;
    el.dataset.row = String(row);
  }

  function patchAt(event) {
    const box = picture.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * w);
    const y = Math.floor(((event.clientY - box.top) / box.height) * h);
    return x >= 0 && x < w && y >= 0 && y < h ? y * w + x : -1;
  }

  function pin(row) {
    model.set("pinned", row);
    model.save_changes();
  }

  const moved = (event) => {
    const row = rowOf.get(patchAt(event));
    if (row !== undefined) show(row);
  };
  const left = () => show(model.get("pinned"));
  const clicked = (event) => {
    const row = rowOf.get(patchAt(event));
    if (row !== undefined) pin(row);
  };
  const pressed = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -w, ArrowDown: w }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const row = rowOf.get(tokens[model.get("pinned")] + step);
    if (row !== undefined) pin(row);
  };
  picture.addEventListener("mousemove", moved);
  picture.addEventListener("mouseleave", left);
  picture.addEventListener("click", clicked);
  picture.addEventListener("keydown", pressed);
  model.on("change:pinned", left);
  left();
  return () => {
    model.off("change:pinned", left);
    URL.revokeObjectURL(address);
  };
}

export default { render };
