// ObjectSelector: wanted and unwanted points, a box or a text; the mask follows.
//
// Keys that never change: grid [h, w], size [H, W] of the image, working [H, W] at which the mask is worked
// out, image, colours (RGB at that size), levels (uint8, M x M: value = (level / 255)^2, a row's largest is 1),
// prompts ([text, patch]), takes_text, code_end, numbers, lut.
// Keys of the state: wanted, unwanted ([[x, y]] in pixels of the image), box ([x0, y0, x1, y1] or []), prompt,
// threshold, history. The steps are those of ultra_kit.selection.masks, in the same order.

const PICKS = ["wanted", "unwanted", "box", "prompt"];

function rowsToOne(p, n) {
  for (let i = 0; i < n; i++) {
    let total = 0;
    for (let j = 0; j < n; j++) total += p[i * n + j];
    if (total > 0) for (let j = 0; j < n; j++) p[i * n + j] /= total;
  }
  return p;
}

function linksOf(levels, n) {
  const p = rowsToOne(Float64Array.from(levels, (q) => (q / 255) ** 2), n);
  const both = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) both[i * n + j] = (p[i * n + j] + p[j * n + i]) / 2;
  return rowsToOne(both, n);
}

function walk(links, n, wanted, unwanted, survival) {
  const ends = new Map();
  for (const t of wanted) if (!unwanted.has(t)) ends.set(t, 1);
  for (const t of unwanted) if (!wanted.has(t)) ends.set(t, 0);
  const x = new Float64Array(n);
  ends.forEach((value, t) => { x[t] = value; });
  const step = (i) => {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += links[i * n + j] * x[j];
    return survival * sum;
  };
  for (let round = 0, moved = 1; round < 400 && moved > 1e-10; round++) {
    moved = 0;
    for (let i = 0; i < n; i++) {
      if (ends.has(i)) continue;
      const next = step(i);
      moved = Math.max(moved, Math.abs(next - x[i]));
      x[i] = next;
    }
  }
  const held = [...ends.keys()].filter((t) => ends.get(t) === 1);
  let others = 0;
  for (let i = 0; i < n; i++) if (!held.includes(i)) others = Math.max(others, x[i]);
  const back = held.map((t) => Math.max(step(t), others));
  held.forEach((t, k) => { x[t] = back[k]; });
  return x;
}

// PyTorch's bicubic resizing of n samples to m: [index, weight] of the four neighbours of each.
function cubicTaps(n, m) {
  const near = (t) => ((1.25 * t - 2.25) * t) * t + 1;
  const far = (t) => ((-0.75 * t + 3.75) * t - 6) * t + 3;
  return Array.from({ length: m }, (_, i) => {
    const at = ((i + 0.5) * n) / m - 0.5;
    const low = Math.floor(at);
    const t = at - low;
    return [far(t + 1), near(t), near(1 - t), far(2 - t)].map((w, k) => [Math.min(Math.max(low - 1 + k, 0), n - 1), w]);
  });
}

function resize(values, [h, w], [H, W]) {
  const down = cubicTaps(h, H);
  const across = cubicTaps(w, W);
  const out = new Float64Array(H * W);
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    let sum = 0;
    for (const [i, a] of down[y]) for (const [j, b] of across[x]) sum += a * b * values[i * w + j];
    out[y * W + x] = Math.max(sum, 0);
  }
  return out;
}

// Half-way between the means of Otsu's two classes, found on 256 bins.
function otsu(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!(high - low > 1e-9 * high)) return high;
  const counts = new Float64Array(256);
  for (const v of values) counts[Math.min(255, Math.floor(((v - low) / (high - low)) * 256))] += 1;
  const middle = (k) => low + ((k + 0.5) * (high - low)) / 256;
  let weight = 0, sum = 0, total = 0, best = -1, at = 0;
  counts.forEach((c, k) => { total += c * middle(k); });
  for (let k = 0; k < 255; k++) {
    weight += counts[k];
    sum += counts[k] * middle(k);
    const rest = values.length - weight;
    const apart = weight && rest ? weight * rest * (sum / weight - (total - sum) / rest) ** 2 : 0;
    if (apart > best * (1 + 1e-12)) [best, at] = [apart, k];
  }
  const above = [], below = [];
  for (const v of values) (v > middle(at) ? above : below).push(v);
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  return above.length ? (mean(above) + mean(below)) / 2 : high;
}

// Weights of the links of every pixel to the one on its right and the one below.
function edgesOf(colours, [H, W], { beta, slack }) {
  const right = new Float64Array(H * W), below = new Float64Array(H * W);
  const weight = (i, j) => {
    let apart = 0;
    for (let c = 0; c < 3; c++) apart += ((colours[3 * i + c] - colours[3 * j + c]) / 255) ** 2;
    return Math.exp(-beta * apart) + slack;
  };
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    const i = y * W + x;
    if (x + 1 < W) right[i] = weight(i, i + 1);
    if (y + 1 < H) below[i] = weight(i, i + W);
  }
  return { right, below };
}

// Conjugate gradients on (Laplacian + pull) x = pull * value, from x = value.
function smooth({ right, below }, [H, W], value, pull) {
  const n = H * W;
  const diagonal = Float64Array.from(pull);
  for (let i = 0; i < n; i++) {
    diagonal[i] += right[i] + below[i];
    if (i % W) diagonal[i] += right[i - 1];
    if (i >= W) diagonal[i] += below[i - W];
  }
  const times = (x, out) => {
    for (let i = 0; i < n; i++) {
      let sum = diagonal[i] * x[i];
      if (right[i]) sum -= right[i] * x[i + 1];
      if (below[i]) sum -= below[i] * x[i + W];
      if (i % W) sum -= right[i - 1] * x[i - 1];
      if (i >= W) sum -= below[i - W] * x[i - W];
      out[i] = sum;
    }
  };
  const dot = (a, b) => { let s = 0; for (let i = 0; i < n; i++) s += a[i] * b[i]; return s; };
  const x = Float64Array.from(value), b = value.map((v, i) => v * pull[i]);
  const q = new Float64Array(n), z = new Float64Array(n);
  times(x, q);
  const r = b.map((v, i) => v - q[i]);
  const enough = 1e-5 * Math.sqrt(dot(b, b));
  let p = null, before = 0;
  for (let round = 0; round < 500 && Math.sqrt(dot(r, r)) > enough; round++) {
    for (let i = 0; i < n; i++) z[i] = r[i] / diagonal[i];
    const now = dot(r, z);
    p = p ? p.map((v, i) => z[i] + (now / before) * v) : Float64Array.from(z);
    before = now;
    times(p, q);
    const step = now / dot(p, q);
    for (let i = 0; i < n; i++) { x[i] += step * p[i]; r[i] -= step * q[i]; }
  }
  return x.map((v) => Math.min(Math.max(v, 0), 1));
}

function connectedPart(mask, [H, W], points) {
  const kept = new Uint8Array(H * W);
  const open = points.map(([x, y]) => Math.floor(y) * W + Math.floor(x)).filter((i) => mask[i]);
  if (!open.length) return mask;
  while (open.length) {
    const i = open.pop();
    if (kept[i]) continue;
    kept[i] = 1;
    const x = i % W;
    if (x > 0 && mask[i - 1]) open.push(i - 1);
    if (x + 1 < W && mask[i + 1]) open.push(i + 1);
    if (i >= W && mask[i - W]) open.push(i - W);
    if (i + W < H * W && mask[i + W]) open.push(i + W);
  }
  return kept;
}

// From the picks to relevance, and from relevance to a mask.
function makeEngine(model) {
  const [grid, size, working, numbers] = ["grid", "size", "working", "numbers"].map((key) => model.get(key));
  const [h, w] = grid;
  const n = h * w;
  const links = linksOf(bytes(model, "levels"), n);
  const edges = edgesOf(bytes(model, "colours"), working, numbers);
  const scale = [working[1] / size[1], working[0] / size[0]];
  const small = ([x, y]) => [x * scale[0], y * scale[1]];
  const patchAt = ([x, y]) => Math.floor((y * h) / size[0]) * w + Math.floor((x * w) / size[1]);
  const middle = (t) => [((t % w) + 0.5) * size[1] / w, (Math.floor(t / w) + 0.5) * size[0] / h];
  const within = ([x, y], b) => x >= b[0] && x < b[2] && y >= b[1] && y < b[3];

  function staying(inside) {
    const places = [...inside];
    const share = places.map((t) => places.reduce((sum, j) => sum + links[t * n + j], 0));
    const cut = otsu(share);
    const kept = places.filter((_, k) => share[k] > cut);
    return kept.length ? kept : places;
  }

  function relevance({ wanted, unwanted, box, place }) {
    const picked = new Set(wanted.map(patchAt)), out = new Set(unwanted.map(patchAt));
    if (place >= 0) picked.add(place);
    if (box.length) {
      const inside = new Set(Array.from({ length: n }, (_, t) => t).filter((t) => within(middle(t), box)));
      inside.add(patchAt([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]));
      if (!picked.size) staying(inside).forEach((t) => picked.add(t));
      for (let t = 0; t < n; t++) if (!inside.has(t) && !picked.has(t)) out.add(t);
    }
    const full = resize(walk(links, n, picked, out, numbers.survival), grid, working);
    const half = otsu(full);
    const value = full.map((v) => (v > 0 ? v / (v + half) : 0));
    const pull = new Float64Array(value.length).fill(numbers.gamma);
    const ruledOut = new Uint8Array(value.length);
    const [H, W] = working;
    const each = (points, act) => points.map(small).forEach(([u, v]) => {
      for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
        if ((x - Math.floor(u)) ** 2 + (y - Math.floor(v)) ** 2 <= numbers.radius ** 2) act(y * W + x);
      }
    });
    each(wanted, (i) => { value[i] = 1; pull[i] = 1; });
    each(unwanted, (i) => { ruledOut[i] = 1; });
    ruledOut.forEach((on, i) => { if (on) { value[i] = 0; pull[i] = 1; } });
    const outside = (i) => box.length && !within([((i % W) + 0.5) / scale[0], (Math.floor(i / W) + 0.5) / scale[1]], box);
    for (let i = 0; i < value.length; i++) if (pull[i] < 1 && outside(i)) value[i] = 0;
    const found = smooth(edges, working, value, pull);
    ruledOut.forEach((on, i) => { if (on || outside(i)) found[i] = 0; });
    return { values: found, anchors: (wanted.length ? wanted : [...picked].map(middle)).map(small) };
  }
  return { relevance, cut: (found, threshold) =>
    connectedPart(Uint8Array.from(found.values, (v) => (v > threshold ? 1 : 0)), working, found.anchors) };
}

function pythonText(text) {
  return /^[^'\\\u0000-\u001f\u007f-\uffff]*$/.test(text) ? `'${text}'` : JSON.stringify(text);
}

// The line of Python that repeats what is picked.
function codeOf(model) {
  const pair = (p) => `(${p.join(", ")})`;
  const [wanted, unwanted, box, prompt] = PICKS.map((key) => model.get(key));
  const said = [];
  if (wanted.length) said.push(`points=[${wanted.map(pair).join(", ")}]`);
  if (unwanted.length) said.push(`unwanted=[${unwanted.map(pair).join(", ")}]`);
  if (box.length) said.push(`box=${pair(box)}`);
  if (prompt) said.push(`text=${pythonText(prompt)}`);
  if (model.get("threshold") !== 0.5) said.push(`threshold=${model.get("threshold")}`);
  return `uk.select(cap, ${said.join(", ")}${model.get("code_end")}`;
}

// The picture to point at: image, veil outside the mask, points, box, cursor.
function makePicture(stage, model) {
  const [H, W] = model.get("size");
  const panel = element("figure", "uk-panel", stage);
  element("figcaption", "", panel, "Click on the object; drag a box");
  const address = pictureAddress(bytes(model, "image"));
  const box = pictureBox(panel, address, W / H, "The image");
  box.classList.add("uk-pointed");
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-label", "The image; arrow keys move a cross, Enter selects there, x rules out");
  const veil = element("canvas", "uk-map uk-mask", box);
  [veil.height, veil.width] = model.get("working");
  const marks = element("div", "uk-marks", box);
  const frame = element("div", "uk-frame", box);
  const cursor = element("div", "uk-cursor", box);
  cursor.hidden = true;
  const lay = (node, [x, y]) => { node.style.left = `${(100 * x) / W}%`; node.style.top = `${(100 * y) / H}%`; };

  function drawMask(mask) {
    const context = veil.getContext("2d");
    const cells = context.createImageData(veil.width, veil.height);
    const out = (i, on) => (on ? !mask[i] : false);
    for (let i = 0; mask && i < mask.length; i++) {
      const x = i % veil.width;
      const edge = mask[i] && (out(i - 1, x > 0) || out(i + 1, x + 1 < veil.width)
        || out(i - veil.width, i >= veil.width) || out(i + veil.width, i + veil.width < mask.length));
      cells.data.set(edge ? [240, 228, 66, 255] : mask[i] ? [0, 0, 0, 0] : [255, 255, 255, 175], 4 * i);
    }
    context.putImageData(cells, 0, 0);
  }

  function drawPicks() {
    marks.replaceChildren();
    for (const [key, sign] of [["wanted", "+"], ["unwanted", "×"]]) {
      for (const point of model.get(key)) lay(element("span", `uk-mark uk-${key}`, marks, sign), point);
    }
    drawBox(model.get("box"));
  }

  function drawBox(corners) {
    frame.hidden = !corners.length;
    if (frame.hidden) return;
    lay(frame, corners);
    frame.style.width = `${(100 * (corners[2] - corners[0])) / W}%`;
    frame.style.height = `${(100 * (corners[3] - corners[1])) / H}%`;
  }
  return { box, veil, drawMask, drawPicks, drawBox, address, cursor, place: (point) => { cursor.hidden = false; lay(cursor, point); } };
}

const tenth = (v) => Math.round(10 * v) / 10;

// Clicks and drags on the picture; a drag of less than 4 pixels is a click.
function listen(picture, model, act) {
  const size = model.get("size");
  let start = null;
  const at = (event) => pointAt(event, picture.box, size).map((v) => Math.floor(10 * v) / 10);
  const corners = (event) => {
    const [a, b] = [start.point, at(event)];
    return [0, 1].map((k) => Math.min(a[k], b[k])).concat([0, 1].map((k) => Math.max(a[k], b[k])));
  };
  const far = (event) => Math.hypot(event.clientX - start.x, event.clientY - start.y) >= 4;
  picture.box.addEventListener("contextmenu", (event) => event.preventDefault());
  picture.box.addEventListener("pointerdown", (event) => {
    start = { point: at(event), x: event.clientX, y: event.clientY };
    picture.box.setPointerCapture(event.pointerId);
  });
  picture.box.addEventListener("pointermove", (event) => { if (start && far(event)) picture.drawBox(corners(event)); });
  picture.box.addEventListener("pointerup", (event) => {
    if (!start) return;
    const made = corners(event);
    if (!far(event)) act.point(start.point, event.shiftKey || event.button === 2);
    else if (made[2] - made[0] >= 1 && made[3] - made[1] >= 1) act.box(made);
    else picture.drawPicks();
    start = null;
  });
}

function render({ model, el }) {
  const root = makeRoot(el, "Select an object",
    "Click on it, or drag a box round it; Shift and click (or the right button) on what does not belong to it.");
  const engine = makeEngine(model);
  const places = new Map(model.get("prompts"));
  const lut = bytes(model, "lut");
  const [h, w] = model.get("grid");
  const [H, W] = model.get("size");
  let found = null;
  let cursor = [Math.floor(h / 2), Math.floor(w / 2)];

  const controls = element("div", "uk-controls", root);
  const mode = choice(controls, "A click means", [["wanted", "this (+)"], ["unwanted", "not this (×)"]], "wanted", () => {});
  const cut = slider(controls, "Threshold", { min: 0, max: 1, step: 0.01, value: 0.5, format: (v) => v.toFixed(2) },
    (v) => change(model, { threshold: v }));
  const prompt = places.size ? choice(controls, "Or name it", [["", "no text"], ...[...places.keys()].map((t) => [t, t])], "",
    (text) => pick({ prompt: text })) : null;
  if (model.get("has_kernel") && model.get("takes_text")) {
    const free = element("input", "", labelled(controls, "Any text"));
    free.type = "text";
    free.addEventListener("change", () => { if (free.value.trim()) pick({ prompt: free.value.trim() }); });
  }
  const stage = element("div", "uk-stage", root);
  const picture = makePicture(stage, model);
  const right = element("figure", "uk-panel", stage);
  element("figcaption", "", right, "Relevance");
  const canvas = element("canvas", "uk-map uk-relevance", pictureBox(right, "", W / H, ""));
  [canvas.height, canvas.width] = model.get("working");
  const bar = legend(right, lut, "relevance: one half is Otsu's threshold");
  bar.set(1);
  const caption = element("p", "uk-caption", root);
  caption.setAttribute("aria-live", "polite");
  const code = element("code", "uk-code", root);
  const actions = element("div", "uk-controls", root);

  function pick(values) {
    const now = Object.fromEntries(PICKS.map((key) => [key, model.get(key)]));
    change(model, { ...values, history: [...model.get("history"), now].slice(-50) });
  }
  function undo() {
    const past = model.get("history");
    if (past.length) change(model, { ...past[past.length - 1], history: past.slice(0, -1) });
  }
  const reset = () => pick({ wanted: [], unwanted: [], box: [], prompt: "" });
  const point = (p, unwanted) => {
    const key = unwanted ? "unwanted" : "wanted";
    pick({ [key]: [...model.get(key), p] });
  };
  listen(picture, model, { point: (p, other) => point(p, other || mode.input.value === "unwanted"), box: (b) => pick({ box: b }) });
  const undoButton = button(actions, "Undo", undo);
  button(actions, "Start again", reset);
  button(actions, "Copy the line", () => navigator.clipboard && navigator.clipboard.writeText(code.textContent).catch(() => {}));

  function work() {
    const [wanted, unwanted, box, text] = PICKS.map((key) => model.get(key));
    found = null;
    if (text && !places.has(text)) {
      if (model.get("has_kernel")) model.send({ text });
    } else if (wanted.length || box.length || text) {
      found = engine.relevance({ wanted, unwanted, box, place: text ? places.get(text) : -1 });
    }
    picture.drawPicks();
    draw();
  }
  function draw() {
    const threshold = model.get("threshold");
    const mask = found ? engine.cut(found, threshold) : null;
    const levels = found ? Uint8Array.from(found.values, (v) => Math.round(255 * v)) : new Uint8Array(canvas.width * canvas.height);
    paintLevels(canvas, levels, lut);
    picture.drawMask(mask);
    const area = mask ? mask.reduce((a, b) => a + b, 0) : 0;
    caption.textContent = mask ? `Selected: ${(100 * area / mask.length).toFixed(1)}% of the image.`
      : model.get("prompt") ? "This text's patch is not in this file: it needs a running kernel." : "Nothing is picked yet.";
    code.textContent = found ? codeOf(model) : "";
    cut.set(threshold);
    if (prompt) prompt.set(model.get("prompt"));
    undoButton.disabled = !model.get("history").length;
    Object.assign(el.dataset, { area, threshold, code: code.textContent, picks: JSON.stringify(PICKS.map((key) => model.get(key))) });
  }

  const answered = (content) => {
    if (content.error) caption.textContent = content.error;
    if (!content.place) return;
    places.set(...content.place);
    work();
  };
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) return;
    const [dy, dx] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key] || [0, 0];
    const here = [tenth((cursor[1] + 0.5) * W / w), tenth((cursor[0] + 0.5) * H / h)];
    if (dx || dy) {
      cursor = [Math.min(Math.max(cursor[0] + dy, 0), h - 1), Math.min(Math.max(cursor[1] + dx, 0), w - 1)];
      picture.place([(cursor[1] + 0.5) * W / w, (cursor[0] + 0.5) * H / h]);
    } else if (event.key === "Enter" && event.target.tagName !== "BUTTON") point(here, false);
    else if (event.key === "x") point(here, true);
    else if (event.key === "u") undo();
    else if (event.key === "r") reset();
    else if (event.key === "+" || event.key === "-") {
      const next = model.get("threshold") + (event.key === "+" ? 0.05 : -0.05);
      change(model, { threshold: Math.round(100 * Math.min(Math.max(next, 0), 1)) / 100 });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  root.addEventListener("keydown", pressed);

  pictureButtons(actions, () => {
    const wide = 380, high = (wide * H) / W;
    const made = drawing(2 * wide + 60, high + 110);
    const frame = { y: 40, width: wide, height: high, preserveAspectRatio: "none", style: "image-rendering:pixelated" };
    made.node("text", { x: 20, y: 28, "font-size": 16, "font-weight": 600 }, caption.textContent);
    made.node("image", { ...frame, x: 20, href: pictureData(picture.box.querySelector("img")) });
    made.node("image", { ...frame, x: 20, href: picture.veil.toDataURL("image/png") });
    made.node("text", { x: wide + 40, y: 28, "font-size": 16, "font-weight": 600 }, "Relevance, 0 (dark) to 1 (bright)");
    made.node("image", { ...frame, x: wide + 40, href: canvas.toDataURL("image/png") });
    for (const [key, sign, fill] of [["wanted", "+", "#56B4E9"], ["unwanted", "×", "#E69F00"]]) {
      for (const [x, y] of model.get(key)) {
        made.node("text", { x: 20 + (x * wide) / W, y: 40 + (y * high) / H + 8, "font-size": 26, "font-weight": 700,
          "text-anchor": "middle", fill, stroke: "#000", "stroke-width": 0.8 }, sign);
      }
    }
    made.node("text", { x: 20, y: high + 75, "font-size": 13, "font-family": "monospace" }, code.textContent);
    return made;
  }, "selection");
  keyHelp(root, [["arrows", "move the cross"], ["Enter", "this"], ["x", "not this"], ["u", "undo"], ["r", "start again"], ["+ -", "threshold"]]);
  element("p", "uk-note", root, "Maps are rounded to 1/255 of the square root of each one's largest value, so the mask may differ "
    + `from Python's in pixels whose relevance lies at the threshold. Worked out at ${canvas.width} x ${canvas.height} pixels.`);

  // A step sets several keys, each of which tells; the work is done once.
  let due = false;
  const soon = () => {
    if (!due) queueMicrotask(() => { due = false; work(); });
    due = true;
  };
  const stops = [watch(model, [...PICKS, "history"], soon), watch(model, ["threshold"], draw)];
  model.on("msg:custom", answered);
  work();
  return () => {
    stops.forEach((stop) => stop());
    model.off("msg:custom", answered);
    URL.revokeObjectURL(picture.address);
  };
}

export default { render };
