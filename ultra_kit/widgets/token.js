// TokenExplorer: point at a patch, see what its token was made from.
//
// Keys that never change: sides (of each: name, grid [h, w], size [H, W], n_prefix, and books:
// the maps of one kind at one layer), levels (uint8), largest and prefix_values (float32) with the maps of all
// books, layers, kinds, n_heads, lut (256 x RGB), image0, image1. A book's tokens have `variants` rows each:
// the whole map, then what came through heads 1..H, then what passed the heads by. A cell's value is
// level / 255 * largest; its colour is lut[level] on a map's own scale.
// Keys of the state: side, pinned (a token of that side), layer, kind, head, scale, prefix.

const STATE = ["side", "pinned", "layer", "kind", "head", "scale", "prefix"];

// The rows of all books: find(side, kind, layer, token) gives { levels, largest, prefix } or undefined.
function makeLibrary(model) {
  const levels = bytes(model, "levels");
  const floats = (key) => new Float32Array(bytes(model, key).buffer);
  const largest = floats("largest");
  const prefix = floats("prefix_values");
  const shelf = new Map();
  const tops = new Map();
  const key = (side, kind, layer) => JSON.stringify([side, kind, layer]);

  function add(side, book, part, n, p) {
    const name = key(side, book.kind, book.layer);
    if (!shelf.has(name)) shelf.set(name, new Map());
    book.tokens.forEach((token, t) => {
      const from = t * book.variants;
      const row = {
        levels: part.levels.subarray(from * n, (from + book.variants) * n),
        largest: part.largest.subarray(from, from + book.variants),
        prefix: part.prefix.subarray(t * p, (t + 1) * p),
      };
      shelf.get(name).set(token, row);
      tops.set(name, Math.max(tops.get(name) || 0, row.largest[0]));
    });
  }

  model.get("sides").forEach((side, s) => {
    const n = side.grid[0] * side.grid[1];
    for (const book of side.books) {
      const part = { levels: levels.subarray(book.start), largest: largest.subarray(book.first) };
      add(s, book, { ...part, prefix: prefix.subarray(book.prefix) }, n, side.n_prefix);
    }
  });
  return {
    add,
    find: (side, kind, layer, token) => (shelf.get(key(side, kind, layer)) || new Map()).get(token),
    top: (kind, layer) => Math.max(0, ...model.get("sides").map((_, s) => tops.get(key(s, kind, layer)) || 0)),
  };
}

// The row of a token's variants that a head stands for: 0 all, h a head, -1 past the heads.
function variantOf(row, head) {
  const count = row.largest.length;
  if (head === 0 || count === 1) return 0;
  return head === -1 ? count - 1 : Math.min(head, count - 2);
}

// The two pictures of one side, and what draws on them.
function makePanel(stage, model, s, handlers) {
  const side = model.get("sides")[s];
  const [h, w] = side.grid;
  const aspect = side.size[1] / side.size[0];
  const lut = bytes(model, "lut");
  const data = model.get(`image${s}`);
  const address = data ? pictureAddress(bytes(model, `image${s}`)) : "";
  const left = element("figure", "uk-panel", stage);
  element("figcaption", "", left, side.name);
  const picture = pictureBox(left, address, aspect, `The input: ${side.name}`);
  picture.classList.add("uk-pointed");
  picture.tabIndex = 0;
  picture.setAttribute("role", "application");
  picture.setAttribute("aria-label", "Patches of the input; arrow keys move from patch to patch");
  const marker = element("div", "uk-marker", picture);
  const chips = element("div", "uk-chips", left);
  const right = element("figure", "uk-panel", stage);
  const heading = element("figcaption", "", right);
  const shown = pictureBox(right, "", aspect, "");
  const canvas = element("canvas", "uk-map", shown);
  Object.assign(canvas, { width: w, height: h });
  const under = element("img", "uk-input uk-under", shown);
  under.alt = "";
  if (address) under.src = address;
  else under.hidden = true;
  const own = element("div", "uk-marker uk-own", shown);
  if (address) own.style.backgroundImage = `url("${address}")`;
  own.style.backgroundSize = `${100 * w}% ${100 * h}%`;
  const missing = element("p", "uk-missing", shown);
  const bar = legend(right, lut, "");
  const tokenChips = Array.from({ length: side.n_prefix }, (_, i) => {
    const chip = element("button", "uk-chip", chips, `prefix ${i}`);
    chip.type = "button";
    chip.addEventListener("pointermove", () => handlers.over(s, i));
    chip.addEventListener("click", () => handlers.pin(s, i));
    return chip;
  });
  const tokenAt = (event) => {
    const cell = cellAt(event, picture, h, w);
    return cell < 0 ? -1 : cell + side.n_prefix;
  };
  picture.addEventListener("pointermove", (event) => handlers.over(s, tokenAt(event)));
  picture.addEventListener("pointerleave", handlers.leave);
  chips.addEventListener("pointerleave", handlers.leave);
  picture.addEventListener("click", (event) => handlers.pin(s, tokenAt(event)));

  function mark(token) {
    const cell = token - side.n_prefix;
    marker.hidden = own.hidden = cell < 0;
    if (cell < 0) return;
    placeOver(marker, cell, h, w);
    placeOver(own, cell, h, w);
    own.style.backgroundPosition = `${(100 * (cell % w)) / Math.max(w - 1, 1)}% ${
      (100 * Math.floor(cell / w)) / Math.max(h - 1, 1)}%`;
  }

  // Draw a token's row, or say that it is not there; returns what a caption says of it.
  function draw(token, row, { head, scale, prefix, shared, title, lacking }) {
    mark(token);
    heading.textContent = title;
    missing.textContent = row ? "" : lacking;
    chips.hidden = !prefix;
    under.style.visibility = row ? "" : "hidden";
    if (!row) {
      paintLevels(canvas, new Uint8Array(h * w), lut);
      return `${placeName(side, token)}: ${lacking}`;
    }
    const v = variantOf(row, head);
    const top = scale === "shared" ? shared : row.largest[v];
    const cells = row.levels.subarray(v * h * w, (v + 1) * h * w);
    const factor = top > 0 ? row.largest[v] / top : 0;
    const levels = factor === 1 ? cells : Uint8Array.from(cells, (q) => Math.min(255, Math.round(q * factor)));
    paintLevels(canvas, levels, lut);
    bar.set(top, scale === "shared" ? "relevance (no unit), one scale for the layer" : "relevance (no unit), this map's own scale");
    tokenChips.forEach((chip, i) => {
      const level = top > 0 ? Math.min(255, Math.round((255 * row.prefix[i]) / top)) : 0;
      chip.style.background = `rgb(${lut[3 * level]}, ${lut[3 * level + 1]}, ${lut[3 * level + 2]})`;
      chip.style.color = level > 140 ? "#000" : "#fff";
      chip.title = `relevance ${row.prefix[i].toPrecision(3)}`;
      chip.classList.toggle("uk-chosen", token === i);
    });
    const sum = cells.reduce((a, b) => a + b, 0) * row.largest[v] / 255;
    const aside = row.prefix.reduce((a, b) => a + b, 0);
    const share = v === 0 && aside + sum > 0 ? ` ${Math.round((100 * aside) / (aside + sum))}% of it lies on prefix tokens.` : "";
    return `${placeName(side, token)}: largest relevance ${row.largest[v].toPrecision(3)}.${side.n_prefix ? share : ""}`;
  }

  // Both pictures on a drawing, from x and y, each `width` wide.
  function copyTo(made, x, y, width) {
    const height = width / aspect;
    const flat = element("canvas", "");
    Object.assign(flat, { width: 480, height: Math.round(480 / aspect) });
    const context = flat.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, 0, 0, flat.width, flat.height);
    if (!under.hidden && under.style.display !== "none") {
      context.globalCompositeOperation = "screen";
      context.filter = "grayscale(1) brightness(.35)";
      context.drawImage(under, 0, 0, flat.width, flat.height);
    }
    if (!own.hidden && address) {
      const cell = [own.style.left, own.style.top].map((text) => parseFloat(text) / 100);
      const [fromWidth, fromHeight] = [under.naturalWidth, under.naturalHeight];
      Object.assign(context, { globalCompositeOperation: "source-over", filter: "none" });
      context.drawImage(under, cell[0] * fromWidth, cell[1] * fromHeight, fromWidth / w, fromHeight / h,
        cell[0] * flat.width, cell[1] * flat.height, flat.width / w, flat.height / h);
    }
    const frame = { y, width, height, preserveAspectRatio: "none", style: "image-rendering:pixelated" };
    if (address) made.node("image", { ...frame, href: pictureData(under), x });
    made.node("image", { ...frame, href: flat.toDataURL("image/png"), x: x + width + 20 });
    if (!marker.hidden) {
      const box = { width: width / w, height: height / h, fill: "none", "stroke-width": 2.5, stroke: "#fff" };
      const at = [parseFloat(marker.style.left) / 100 * width, parseFloat(marker.style.top) / 100 * height];
      for (const shift of [0, width + 20]) {
        made.node("rect", { ...box, x: x + shift + at[0], y: y + at[1], stroke: "#000", "stroke-width": 5 });
        made.node("rect", { ...box, x: x + shift + at[0], y: y + at[1] });
      }
    }
    const ramp = { href: pictureData(bar.bar), x: x + width + 20, y: y + height + 8, width, height: 12 };
    made.node("image", { ...ramp, preserveAspectRatio: "none" });
    const text = { x: x + width + 20, y: y + height + 38, "font-size": 15 };
    made.node("text", text, `0 to ${right.querySelector(".uk-end").textContent}, ${right.querySelector(".uk-unit").textContent}`);
    made.node("text", { x, y: y - 8, "font-size": 16, "font-weight": 600 }, side.name.slice(0, 40));
    made.node("text", { x: x + width + 20, y: y - 8, "font-size": 16, "font-weight": 600 }, heading.textContent.slice(0, 45));
  }

  return { side, draw, copyTo, aspect, under, address, picture };
}

function placeName(side, token) {
  if (token < side.n_prefix) return `Prefix token ${token}`;
  const cell = token - side.n_prefix;
  const w = side.grid[1];
  return `Patch (${Math.floor(cell / w)}, ${cell % w}), token ${token}`;
}

// The token of another side at the same place.
function counterpart(from, to, token) {
  if (from === to || token < from.n_prefix) return Math.min(token, to.n_prefix + to.grid[0] * to.grid[1] - 1);
  const cell = token - from.n_prefix;
  const row = Math.floor(((Math.floor(cell / from.grid[1]) + 0.5) / from.grid[0]) * to.grid[0]);
  const column = Math.floor((((cell % from.grid[1]) + 0.5) / from.grid[1]) * to.grid[1]);
  return to.n_prefix + row * to.grid[1] + column;
}

// The controls; each writes to the model, and `follow()` brings them back in step with it.
function makeControls(root, model, under) {
  const layers = model.get("layers");
  const kinds = model.get("kinds");
  const box = element("div", "uk-controls", root);
  const set = (name) => (value) => change(model, { [name]: value });
  const controls = {};
  if (layers.length > 1) {
    const format = (i) => `${layers[i]} of ${layers[layers.length - 1]}`;
    controls.layer = slider(box, "Layer", { min: 0, max: layers.length - 1, value: 0, format }, (i) => set("layer")(layers[i]));
  }
  if (kinds.length > 1) controls.kind = choice(box, "Map", kinds.map((k) => [k, k]), kinds[0], set("kind"));
  if (model.get("n_heads")) {
    const heads = Array.from({ length: model.get("n_heads") }, (_, i) => [String(i + 1), `head ${i + 1} only`]);
    const options = [["0", "all heads"], ...heads, ["-1", "past the heads"]];
    controls.head = choice(box, "Through", options, "0", (v) => set("head")(Number(v)));
  }
  controls.scale = choice(box, "Colours", [["own", "each map's own scale"], ["shared", "one scale for the layer"]], "own", set("scale"));
  if (model.get("sides").some((side) => side.n_prefix)) controls.prefix = toggle(box, "Prefix tokens", false, set("prefix"));
  toggle(box, "Image under the map", true, under);
  return {
    box,
    follow: () => {
      for (const [name, control] of Object.entries(controls)) {
        const value = model.get(name);
        control.set(name === "layer" ? layers.indexOf(value) : name === "head" ? String(value) : value);
      }
    },
  };
}

function render({ model, el }) {
  const root = makeRoot(el, "What was this token made from?",
    "Point at a patch: the picture beside it shows from which patches its token was made. Click to keep it.");
  const library = makeLibrary(model);
  const sides = model.get("sides");
  let over = null; // what the pointer is on, [side, token], or null
  const controls = makeControls(root, model, (on) => panels.forEach((p) => { p.under.style.display = on ? "" : "none"; }));
  const stage = element("div", "uk-stage", root);
  const handlers = {
    over: (s, token) => {
      if (token < 0 || (over && over[0] === s && over[1] === token)) return;
      over = [s, token];
      show();
    },
    leave: () => { over = null; show(); },
    pin: (s, token) => { if (token >= 0) pin(s, token); },
  };
  const panels = sides.map((_, s) => makePanel(stage, model, s, handlers));
  const caption = element("p", "uk-caption", root);
  caption.setAttribute("aria-live", "polite");
  const actions = element("div", "uk-controls", root);

  function show() {
    const [s, token] = over || [model.get("side"), model.get("pinned")];
    const [kind, layer, head, scale] = ["kind", "layer", "head", "scale"].map((key) => model.get(key));
    const through = { 0: "", "-1": ", past the heads" }[head] ?? `, head ${head}`;
    const said = panels.map((panel, i) => {
      const own = counterpart(sides[s], sides[i], token);
      return panel.draw(own, library.find(i, kind, layer, own), {
        head, scale, prefix: model.get("prefix"), shared: library.top(kind, layer),
        title: `${kind}, layer ${layer}${through}`,
        lacking: model.get("has_kernel") ? "click to work out this map" : "this token's map is not in this file",
      });
    });
    caption.textContent = said.join("  |  ");
    Object.assign(el.dataset, { token, side: s, layer, kind, head, scale });
  }

  // Ask the kernel for the maps that are not here.
  function ask() {
    if (!model.get("has_kernel")) return;
    const [s, token, kind, layer] = ["side", "pinned", "kind", "layer"].map((key) => model.get(key));
    sides.forEach((side, i) => {
      const own = counterpart(sides[s], side, token);
      if (library.find(i, kind, layer, own)) return;
      caption.textContent = "Working out this map ...";
      model.send({ side: i, kind, layer, token: own });
    });
  }

  function pin(s, token) {
    change(model, { side: s, pinned: token });
    ask();
  }

  const answered = (content, buffers) => {
    if (content.error) caption.textContent = content.error;
    if (!content.row) return;
    const copies = buffers.map((b) => new Uint8Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength)));
    const part = { levels: copies[0], largest: new Float32Array(copies[1].buffer), prefix: new Float32Array(copies[2].buffer) };
    const side = sides[content.row.side];
    library.add(content.row.side, content.row, part, side.grid[0] * side.grid[1], side.n_prefix);
    show();
  };

  function step(name, options, by) {
    const next = options.indexOf(model.get(name)) + by;
    if (next >= 0 && next < options.length) change(model, { [name]: options[next] });
  }

  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) return;
    const side = sides[model.get("side")];
    const [h, w] = side.grid;
    const cell = model.get("pinned") - side.n_prefix;
    const [dy, dx] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key] || [0, 0];
    const heads = [0, ...Array.from({ length: model.get("n_heads") }, (_, i) => i + 1), -1];
    if (dx || dy) {
      const row = Math.min(Math.max(Math.floor(Math.max(cell, 0) / w) + dy, 0), h - 1);
      const column = Math.min(Math.max((Math.max(cell, 0) % w) + dx, 0), w - 1);
      over = null;
      pin(model.get("side"), side.n_prefix + row * w + column);
    } else if (event.key === "Enter" && over && event.target.tagName !== "BUTTON") pin(...over);
    else if (event.key === "+" || event.key === "=") step("layer", model.get("layers"), 1);
    else if (event.key === "-") step("layer", model.get("layers"), -1);
    else if (event.key === "m") step("kind", model.get("kinds"), 1);
    else if (event.key === "M") step("kind", model.get("kinds"), -1);
    else if (event.key === "h" && model.get("n_heads")) change(model, { head: heads[(heads.indexOf(model.get("head")) + 1) % heads.length] });
    else if (event.key === "s") change(model, { scale: model.get("scale") === "own" ? "shared" : "own" });
    else if (event.key === "p") change(model, { prefix: !model.get("prefix") });
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  root.addEventListener("keydown", pressed);

  pictureButtons(actions, () => {
    const width = 360;
    const high = panels.map((panel) => width / panel.aspect + 90);
    const made = drawing(2 * width + 60, 20 + high.reduce((a, b) => a + b, 0));
    let y = 40;
    panels.forEach((panel, i) => {
      panel.copyTo(made, 20, y, width);
      y += high[i];
    });
    return made;
  }, "token-map");
  const keys = [["arrows", "move"], ["Enter", "keep the patch pointed at"], ["s", "scale"], ["p", "prefix tokens"]];
  if (model.get("layers").length > 1) keys.push(["+ -", "layer"]);
  if (model.get("kinds").length > 1) keys.push(["m", "next map"]);
  if (model.get("n_heads")) keys.push(["h", "next head"]);
  keyHelp(root, keys);
  element("p", "uk-note", root, "The map leaves the token's own position out: that cell shows the patch itself. "
    + "Values are rounded to steps of 1/255 of each map's largest. Relevance is the raw number of the method; it has no unit."
    + (model.get("left_out") && !model.get("has_kernel") ? ` ${model.get("left_out")} further maps are not in this file.` : ""));

  const changed = () => { controls.follow(); show(); ask(); };
  const stop = watch(model, STATE, changed);
  model.on("msg:custom", answered);
  controls.follow();
  show();
  return () => {
    stop();
    model.off("msg:custom", answered);
    panels.forEach((panel) => panel.address && URL.revokeObjectURL(panel.address));
  };
}

export default { render };
