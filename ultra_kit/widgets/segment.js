// SegmentExplorer: the cut through the tree moves and the segments follow; merge, name, undo, take away.
//
// Keys that never change: grid [h, w], size [H, W], compared [h, w] of the maps, n_prefix, tokens, constant
// (tokens without contrast), linkage (float64, SciPy's), maps (float32), palette, lut, image.
// Keys of the state: threshold, merges (pairs of tokens), names (pairs of token and text), chosen (tokens),
// history (earlier { threshold, merges, names }).
// The clusters are those of Python's Segmentation.recut and .merge; the pixels are worked out the same way,
// shown at no more than 320 pixels a side, and written to files at the image's own size.

const SHOWN = 320;
const STEPS = 50;

// What the tree is: leaves (row of maps of each), heights (largest distance in each node), children.
function makeTree(model) {
  const tokens = model.get("tokens");
  const constant = new Set(model.get("constant"));
  const leaves = tokens.map((_, row) => row).filter((row) => !constant.has(tokens[row]));
  const links = new Float64Array(bytes(model, "linkage").buffer);
  const count = links.length / 4;
  const n = leaves.length;
  const children = [];
  const heights = [];
  for (let i = 0; i < count; i++) {
    const pair = [links[4 * i], links[4 * i + 1]];
    children.push(pair);
    heights.push(Math.max(links[4 * i + 2], ...pair.map((node) => (node < n ? 0 : heights[node - n]))));
  }
  return { tokens, leaves, n, children, heights, top: Math.max(0, ...heights) };
}

// Cluster of every row of the maps, numbered by first token; rows without contrast come last.
function cutTree(tree, threshold, merges) {
  const parent = Array.from({ length: tree.n + tree.children.length }, (_, i) => i);
  const find = (i) => {
    while (parent[i] !== i) i = parent[i];
    return i;
  };
  tree.children.forEach(([a, b], i) => {
    if (tree.heights[i] <= threshold) parent[find(a)] = parent[find(b)] = tree.n + i;
  });
  const leafOf = new Map(tree.leaves.map((row, leaf) => [tree.tokens[row], leaf]));
  for (const [a, b] of merges) {
    if (leafOf.has(a) && leafOf.has(b)) parent[find(leafOf.get(a))] = find(leafOf.get(b));
  }
  const order = tree.leaves.map((_, leaf) => leaf).sort((a, b) => tree.tokens[tree.leaves[a]] - tree.tokens[tree.leaves[b]]);
  const numbers = new Map();
  for (const leaf of order) if (!numbers.has(find(leaf))) numbers.set(find(leaf), numbers.size);
  const clusters = new Array(tree.tokens.length).fill(numbers.size);
  tree.leaves.forEach((row, leaf) => { clusters[row] = numbers.get(find(leaf)); });
  return { clusters, count: Math.max(numbers.size, 1) };
}

// Sums of the maps of each cluster, and the same scaled to [0, 1]; a sum without contrast becomes 0.
function sumMaps(maps, cells, { clusters, count }) {
  const sums = Array.from({ length: count }, () => new Float64Array(cells));
  clusters.forEach((k, row) => {
    if (k >= count) return;
    for (let i = 0; i < cells; i++) sums[k][i] += maps[row * cells + i];
  });
  const scaled = sums.map((sum) => {
    const low = sum.reduce((a, b) => Math.min(a, b));
    const high = sum.reduce((a, b) => Math.max(a, b));
    const varies = high - low > 1e-6 * Math.max(Math.abs(low), Math.abs(high));
    return Float32Array.from(sum, (x) => (varies ? (x - low) / (high - low) : 0));
  });
  return { sums, scaled };
}

// Bicubic resizing of n samples to m (a = -0.75, edges repeated): for each output 4 samples and 4 weights.
function bicubicTaps(n, m) {
  const near = (t) => (1.25 * t - 2.25) * t * t + 1;
  const far = (t) => ((-0.75 * t + 3.75) * t - 6) * t + 3;
  return Array.from({ length: m }, (_, i) => {
    if (n === m) return [[i, i, i, i], [1, 0, 0, 0]];
    const at = ((i + 0.5) * n) / m - 0.5;
    const from = Math.floor(at);
    const t = at - from;
    const samples = [-1, 0, 1, 2].map((d) => Math.min(Math.max(from + d, 0), n - 1));
    return [samples, [far(t + 1), near(t), near(1 - t), far(2 - t)]];
  });
}

// Index of the largest of the scaled maps at every pixel of (height, width); ties go to the lower one.
function labelPixels(scaled, [h, w], height, width) {
  const up = bicubicTaps(h, height);
  const across = bicubicTaps(w, width);
  const labels = new Int32Array(height * width);
  const best = new Float32Array(height * width);
  const line = new Float32Array(w);
  scaled.forEach((map, k) => {
    for (let y = 0; y < height; y++) {
      const [rows, weights] = up[y];
      for (let x = 0; x < w; x++) {
        line[x] = weights[0] * map[rows[0] * w + x] + weights[1] * map[rows[1] * w + x]
          + weights[2] * map[rows[2] * w + x] + weights[3] * map[rows[3] * w + x];
      }
      for (let x = 0; x < width; x++) {
        const [columns, c] = across[x];
        const here = Math.fround(c[0] * line[columns[0]] + c[1] * line[columns[1]] + c[2] * line[columns[2]] + c[3] * line[columns[3]]);
        const i = y * width + x;
        if (k === 0) best[i] = Math.max(here, 0);
        else if (here > best[i]) {
          best[i] = here;
          labels[i] = k;
        }
      }
    }
  });
  return labels;
}

// COCO's run lengths of the pixels with one label, column by column, beginning with those without.
function runLengths(labels, k, height, width) {
  const counts = [];
  let inside = false;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if ((labels[y * width + x] === k) !== inside) {
        counts.push(run);
        run = 0;
        inside = !inside;
      }
      run++;
    }
  }
  counts.push(run);
  return { size: [height, width], counts };
}

// The innermost pixel of every label: where its number stands.
function innermost(labels, count, height, width) {
  const depth = new Int32Array(labels.length);
  const at = (y, x, k) => (y < 0 || x < 0 || y >= height || x >= width || labels[y * width + x] !== k ? 0 : depth[y * width + x]);
  const found = new Array(count).fill(-1);
  for (const back of [false, true]) {
    for (let j = 0; j < labels.length; j++) {
      const i = back ? labels.length - 1 - j : j;
      const y = Math.floor(i / width);
      const x = i % width;
      const k = labels[i];
      const d = back ? 1 : -1;
      const reach = 1 + Math.min(at(y + d, x, k), at(y, x + d, k));
      depth[i] = back ? Math.min(depth[i], reach) : reach;
      if (back && (found[k] < 0 || depth[i] > depth[found[k]])) found[k] = i;
    }
  }
  return found;
}

// Everything that follows from threshold and merges.
function workOut(model, tree, maps) {
  const [h, w] = model.get("compared");
  const [fullHeight, fullWidth] = model.get("size");
  const shrink = Math.min(1, SHOWN / Math.max(fullHeight, fullWidth));
  const height = Math.max(1, Math.round(fullHeight * shrink));
  const width = Math.max(1, Math.round(fullWidth * shrink));
  const cut = cutTree(tree, model.get("threshold"), model.get("merges"));
  const { sums, scaled } = sumMaps(maps, h * w, cut);
  const labels = labelPixels(scaled, [h, w], height, width);
  const areas = new Array(cut.count).fill(0);
  for (const k of labels) areas[k]++;
  const members = Array.from({ length: cut.count }, () => []);
  cut.clusters.forEach((k, row) => { if (k < cut.count) members[k].push(tree.tokens[row]); });
  members.forEach((list) => list.sort((a, b) => a - b));
  const segmentOf = new Map(cut.clusters.map((k, row) => [tree.tokens[row], k]));
  const names = members.map((_, k) => `segment ${k}`);
  for (const [token, name] of model.get("names")) if (segmentOf.get(token) < cut.count) names[segmentOf.get(token)] = name;
  const means = sums.map((sum, k) => sum.map((x) => x / Math.max(members[k].length, 1)));
  return { ...cut, scaled, labels, height, width, members, names, means, segmentOf, shares: areas.map((a) => a / labels.length),
    places: innermost(labels, cut.count, height, width) };
}

function rgbOf(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

function paintLabels(canvas, now, palette) {
  Object.assign(canvas, { width: now.width, height: now.height });
  const colours = palette.map(rgbOf);
  const cells = canvas.getContext("2d").createImageData(now.width, now.height);
  now.labels.forEach((k, i) => cells.data.set([...colours[k % colours.length], 255], 4 * i));
  canvas.getContext("2d").putImageData(cells, 0, 0);
}

// Borders and numbers, the rest dimmed where one segment is looked at, a dot on each of its tokens.
function drawLines(canvas, now, { focus, chosen, grid, nPrefix }) {
  const scale = 720 / now.width;
  Object.assign(canvas, { width: 720, height: Math.round(now.height * scale) });
  const pen = canvas.getContext("2d");
  const { labels, width, height } = now;
  if (focus >= 0) dimOthers(pen, now, focus, canvas);
  pen.beginPath();
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const k = labels[y * width + x];
      if (x + 1 < width && labels[y * width + x + 1] !== k) {
        pen.moveTo((x + 1) * scale, y * scale);
        pen.lineTo((x + 1) * scale, (y + 1) * scale);
      }
      if (y + 1 < height && labels[(y + 1) * width + x] !== k) {
        pen.moveTo(x * scale, (y + 1) * scale);
        pen.lineTo((x + 1) * scale, (y + 1) * scale);
      }
    }
  }
  Object.assign(pen, { strokeStyle: "#000", lineWidth: 4, lineCap: "square" });
  pen.stroke();
  if (focus >= 0) drawDots(pen, now.members[focus], grid, nPrefix, canvas);
  Object.assign(pen, { font: "600 30px system-ui, sans-serif", textAlign: "center", textBaseline: "middle" });
  now.places.forEach((place, k) => {
    if (place < 0) return;
    const x = Math.min(Math.max(((place % width) + 0.5) * scale, 22), canvas.width - 22);
    const y = Math.min(Math.max((Math.floor(place / width) + 0.5) * scale, 20), canvas.height - 20);
    const marked = chosen.has(k);
    Object.assign(pen, { fillStyle: marked ? "#000" : "#fff", strokeStyle: "#000", lineWidth: 2 });
    pen.fillRect(x - 20, y - 18, 40, 36);
    pen.strokeRect(x - 20, y - 18, 40, 36);
    pen.fillStyle = marked ? "#fff" : "#000";
    pen.fillText(String(k), x, y + 1);
  });
}

function dimOthers(pen, now, focus, canvas) {
  const veil = element("canvas", "");
  Object.assign(veil, { width: now.width, height: now.height });
  const cells = veil.getContext("2d").createImageData(now.width, now.height);
  now.labels.forEach((k, i) => { if (k !== focus) cells.data.set([255, 255, 255, 160], 4 * i); });
  veil.getContext("2d").putImageData(cells, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(veil, 0, 0, canvas.width, canvas.height);
}

function drawDots(pen, tokens, [h, w], nPrefix, canvas) {
  for (const token of tokens) {
    const cell = token - nPrefix;
    const x = (((cell % w) + 0.5) / w) * canvas.width;
    const y = ((Math.floor(cell / w) + 0.5) / h) * canvas.height;
    pen.beginPath();
    pen.arc(x, y, 6, 0, 2 * Math.PI);
    Object.assign(pen, { fillStyle: "#fff", strokeStyle: "#000", lineWidth: 3 });
    pen.stroke();
    pen.fill();
  }
}

const EDGE = { left: 70, right: 12, top: 14, bottom: 12 };

// The tree with the cut: x the leaves as the tree orders them, y the distance.
function drawTree(canvas, tree, now, threshold, limit, palette) {
  const { width, height } = canvas;
  const pen = canvas.getContext("2d");
  const y = (d) => height - EDGE.bottom - ((height - EDGE.top - EDGE.bottom) * d) / limit;
  pen.clearRect(0, 0, width, height);
  const order = [];
  const stack = tree.children.length ? [tree.n + tree.children.length - 1] : [];
  while (stack.length) {
    const node = stack.pop();
    if (node < tree.n) order.push(node);
    else stack.push(tree.children[node - tree.n][1], tree.children[node - tree.n][0]);
  }
  const spots = [];
  const owners = [];
  order.forEach((leaf, i) => {
    spots[leaf] = [EDGE.left + ((width - EDGE.left - EDGE.right) * (i + 0.5)) / order.length, y(0)];
    owners[leaf] = now.clusters[tree.leaves[leaf]];
  });
  pen.lineWidth = tree.n > 300 ? 1.5 : 2.5;
  tree.children.forEach(([a, b], i) => {
    const level = y(tree.heights[i]);
    spots[tree.n + i] = [(spots[a][0] + spots[b][0]) / 2, level];
    owners[tree.n + i] = owners[a] === owners[b] ? owners[a] : -1;
    const owner = owners[tree.n + i];
    pen.strokeStyle = owner < 0 ? "#77777f" : palette[owner % palette.length];
    pen.beginPath();
    pen.moveTo(...spots[a]);
    pen.lineTo(spots[a][0], level);
    pen.lineTo(spots[b][0], level);
    pen.lineTo(...spots[b]);
    pen.stroke();
  });
  Object.assign(pen, { fillStyle: "#1b1b1f", font: "22px system-ui, sans-serif", textAlign: "right", textBaseline: "middle" });
  pen.fillText("0", EDGE.left - 10, y(0) - 8);
  pen.fillText(limit.toPrecision(2), EDGE.left - 10, y(limit) + 8);
  Object.assign(pen, { strokeStyle: "#000", lineWidth: 4 });
  pen.setLineDash([14, 8]);
  pen.beginPath();
  pen.moveTo(EDGE.left, y(threshold));
  pen.lineTo(width - EDGE.right, y(threshold));
  pen.stroke();
  pen.setLineDash([]);
}

// The tree's canvas; dragging in it moves the cut.
function makeTreeBox(parent, limit, move) {
  element("p", "uk-subtitle", parent, "Tree of the maps: drag the dashed cut. Upwards: cosine distance between maps.");
  const canvas = element("canvas", "uk-tree", parent);
  Object.assign(canvas, { width: 1200, height: 300 });
  let dragging = false;
  const at = (event, last) => {
    const box = canvas.getBoundingClientRect();
    const y = ((event.clientY - box.top) / box.height) * canvas.height;
    const share = (canvas.height - EDGE.bottom - y) / (canvas.height - EDGE.top - EDGE.bottom);
    move(limit * Math.min(Math.max(share, 0), 1), last);
  };
  canvas.addEventListener("pointerdown", (event) => {
    dragging = true;
    canvas.setPointerCapture(event.pointerId);
    at(event, false);
  });
  canvas.addEventListener("pointermove", (event) => { if (dragging) at(event, false); });
  canvas.addEventListener("pointerup", (event) => {
    if (dragging) at(event, true);
    dragging = false;
  });
  return canvas;
}

function render({ model, el }) {
  const root = makeRoot(el, "Which tokens belong together?",
    "Tokens whose maps look alike form a segment. Move the threshold: fewer or more segments. Point at one to see its mean map and its tokens; click to mark it.");
  const tree = makeTree(model);
  const maps = new Float32Array(bytes(model, "maps").buffer);
  const palette = model.get("palette");
  const lut = bytes(model, "lut");
  const [fullHeight, fullWidth] = model.get("size");
  const limit = Math.max(1.05 * tree.top, 1.2 * model.get("threshold"), 1e-6);
  const address = model.get("image") ? pictureAddress(bytes(model, "image")) : "";
  let now = workOut(model, tree, maps);
  let focus = -1;
  let before = null; // what to go back to when a drag ends

  const snapshot = () => ({ threshold: model.get("threshold"), merges: model.get("merges"), names: model.get("names") });
  const act = (changes) => change(model, { history: [...model.get("history"), snapshot()].slice(-STEPS), ...changes });
  function move(threshold, last) {
    before = before || snapshot();
    const done = last ? { history: [...model.get("history"), before].slice(-STEPS) } : {};
    if (last) before = null;
    change(model, { ...done, threshold });
  }

  const controls = element("div", "uk-controls", root);
  const threshold = slider(controls, "Threshold", { min: 0, max: limit, step: "any", value: model.get("threshold"), format: (v) => v.toFixed(3) }, (v) => move(v, false));
  threshold.input.addEventListener("change", () => move(Number(threshold.input.value), true));
  const counted = element("strong", "uk-count", controls);
  counted.setAttribute("aria-live", "polite");
  const mergeButton = button(controls, "Merge marked", merge, "Join the marked segments (m)");
  const undoButton = button(controls, "Undo", undo, "Take the last step back (u)");

  const stage = element("div", "uk-stage", root);
  const left = element("figure", "uk-panel", stage);
  element("figcaption", "", left, "Segments");
  const picture = pictureBox(left, "", fullWidth / fullHeight, "");
  picture.classList.add("uk-pointed");
  picture.tabIndex = 0;
  picture.setAttribute("role", "application");
  picture.setAttribute("aria-label", "Segments; left and right arrow go from one to the next, Enter marks");
  const canvas = element("canvas", "uk-map uk-labels", picture);
  const texture = element("img", "uk-input uk-texture", picture);
  texture.alt = "";
  if (address) texture.src = address;
  else texture.hidden = true;
  const lines = element("canvas", "uk-input uk-lines", picture);
  const right = element("figure", "uk-panel", stage);
  const heading = element("figcaption", "", right);
  const mean = element("canvas", "uk-map", pictureBox(right, "", fullWidth / fullHeight, ""));
  const [h, w] = model.get("compared");
  Object.assign(mean, { width: w, height: h });
  const bar = legend(right, lut, "mean relevance of its tokens (no unit)");
  const list = element("div", "uk-list", stage);
  const caption = element("p", "uk-caption", root);
  const treeCanvas = makeTreeBox(root, limit, move);

  function merge() {
    const marked = chosenSegments();
    if (marked.length < 2) return;
    const first = marked.map((k) => now.members[k][0]);
    act({ merges: [...model.get("merges"), ...first.slice(1).map((token) => [first[0], token])], chosen: [] });
  }

  function undo() {
    const history = model.get("history");
    if (!history.length) return;
    change(model, { ...history[history.length - 1], history: history.slice(0, -1) });
  }

  const chosenSegments = () => [...new Set(model.get("chosen").map((token) => now.segmentOf.get(token)))]
    .filter((k) => k < now.count).sort((a, b) => a - b);

  function mark(k) {
    const inside = new Set(now.members[k]);
    const rest = model.get("chosen").filter((token) => !inside.has(token));
    const was = rest.length < model.get("chosen").length;
    change(model, { chosen: was ? rest : [...rest, now.members[k][0]] });
  }

  function look(k) {
    if (k === focus) return;
    focus = k;
    showFocus();
  }

  // What changes with the segment looked at.
  function showFocus() {
    const k = focus >= 0 && focus < now.count ? focus : -1;
    const shown = k < 0 ? now.shares.indexOf(Math.max(...now.shares)) : k;
    const chosen = new Set(chosenSegments());
    drawLines(lines, now, { focus: k, chosen, grid: model.get("grid"), nPrefix: model.get("n_prefix") });
    const values = now.means[shown];
    const top = values.reduce((a, b) => Math.max(a, b), 0);
    paintLevels(mean, Uint8Array.from(values, (v) => (top > 0 ? Math.round((255 * Math.max(v, 0)) / top) : 0)), lut);
    bar.set(top);
    heading.textContent = `Mean map of ${now.names[shown]}`;
    const members = now.members[shown];
    const some = members.slice(0, 12).join(", ") + (members.length > 12 ? ", ..." : "");
    const name = now.names[shown] === `segment ${shown}` ? "" : `, ${now.names[shown]}`;
    caption.textContent = `Segment ${shown}${name}: ${(100 * now.shares[shown]).toFixed(1)}% of the image, `
      + `${members.length} token${members.length === 1 ? "" : "s"}: ${some}`;
    list.querySelectorAll(".uk-row").forEach((row, i) => row.classList.toggle("uk-focus", i === k));
    mergeButton.disabled = chosen.size < 2;
    undoButton.disabled = !model.get("history").length;
    Object.assign(el.dataset, { segments: now.count, focus: k, chosen: [...chosen].join(" "), threshold: model.get("threshold") });
  }

  function showList() {
    list.replaceChildren();
    const chosen = new Set(chosenSegments());
    for (let k = 0; k < now.count; k++) {
      const row = element("div", "uk-row", list);
      row.addEventListener("pointerenter", () => look(k));
      const box = element("input", "", row);
      Object.assign(box, { type: "checkbox", checked: chosen.has(k), title: `Mark segment ${k}` });
      box.addEventListener("change", () => mark(k));
      element("span", "uk-swatch", row, String(k)).style.background = palette[k % palette.length];
      const name = element("input", "uk-name", row);
      Object.assign(name, { type: "text", value: now.names[k], title: `Name of segment ${k}` });
      name.setAttribute("aria-label", `Name of segment ${k}`);
      name.addEventListener("change", () => act({ names: [...model.get("names"), [now.members[k][0], name.value]] }));
      element("span", "uk-share", row, `${(100 * now.shares[k]).toFixed(1)}%`);
    }
  }

  function show() {
    now = workOut(model, tree, maps);
    paintLabels(canvas, now, palette);
    threshold.set(model.get("threshold"));
    counted.textContent = `${now.count} segment${now.count === 1 ? "" : "s"}`;
    drawTree(treeCanvas, tree, now, model.get("threshold"), limit, palette);
    showList();
    showFocus();
  }

  const segmentUnder = (event) => {
    const i = cellAt(event, picture, now.height, now.width);
    return i < 0 ? -1 : now.labels[i];
  };
  picture.addEventListener("pointermove", (event) => look(segmentUnder(event)));
  picture.addEventListener("pointerleave", () => look(-1));
  list.addEventListener("pointerleave", () => look(-1));
  picture.addEventListener("click", (event) => {
    const k = segmentUnder(event);
    if (k >= 0 && now.members[k].length) mark(k);
  });

  // The cut half-way to the next merge above (by = 1) or the one below (by = -1).
  function nextCut(by) {
    const levels = [0, ...[...new Set(tree.heights)].sort((a, b) => a - b), limit];
    const below = levels.filter((level) => level <= model.get("threshold")).length - 1;
    const i = Math.min(Math.max(below + by, 0), levels.length - 2);
    act({ threshold: (levels[i] + levels[i + 1]) / 2 });
  }

  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) return;
    if (event.key === "ArrowRight") look((focus + 1) % now.count);
    else if (event.key === "ArrowLeft") look((focus + now.count - (focus < 0 ? 0 : 1)) % now.count);
    else if (event.key === "Enter" && focus >= 0 && event.target.tagName !== "BUTTON") mark(focus);
    else if (event.key === "+" || event.key === "=") nextCut(1);
    else if (event.key === "-") nextCut(-1);
    else if (event.key === "m") merge();
    else if (event.key === "u") undo();
    else if (event.key === "r" && focus >= 0) list.querySelectorAll(".uk-name")[focus].select();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  root.addEventListener("keydown", pressed);

  const actions = element("div", "uk-controls", root);
  pictureButtons(actions, () => segmentDrawing(now, { canvas, lines, texture, palette, aspect: fullWidth / fullHeight }), "segments");
  const masks = () => {
    const labels = labelPixels(now.scaled, model.get("compared"), fullHeight, fullWidth);
    return now.names.map((_, k) => runLengths(labels, k, fullHeight, fullWidth));
  };
  const save = (value, name) => download(new Blob([JSON.stringify(value)], { type: "application/json" }), name);
  button(actions, "RLE", () => save(masks().map((rle, k) => ({ ...rle, name: now.names[k] })), "segments-rle.json"),
    "Save the masks as COCO run-length codes");
  button(actions, "JSON", () => {
    const found = masks();
    const segments = now.names.map((name, k) => ({ name, share: maskShare(found[k]), tokens: now.members[k], rle: found[k] }));
    save({ threshold: model.get("threshold"), merges: model.get("merges"), segments }, "segments.json");
  }, "Save threshold, merges, names, tokens and masks");
  keyHelp(root, [["← →", "next segment"], ["Enter", "mark"], ["m", "merge marked"], ["r", "rename"], ["u", "undo"], ["+ -", "one merge more or less"]]);
  const note = "A threshold is a cosine distance: 0 joins only maps of one direction. Merges and names stay with their tokens when the threshold moves.";
  const shrunk = Math.max(fullHeight, fullWidth) > SHOWN ? ` Shown at ${now.width}x${now.height}; files have the image's own ${fullWidth}x${fullHeight}.` : "";
  const without = model.get("constant").length;
  element("p", "uk-note", root, note + shrunk + (without ? ` ${without} tokens have a map without contrast and belong to no segment.` : ""));

  const stops = [watch(model, ["threshold", "merges", "names"], show), watch(model, ["chosen", "history"], () => { showList(); showFocus(); })];
  show();
  return () => {
    stops.forEach((stop) => stop());
    if (address) URL.revokeObjectURL(address);
  };
}

function maskShare({ size, counts }) {
  return counts.reduce((sum, run, i) => sum + (i % 2 ? run : 0), 0) / (size[0] * size[1]);
}

// The segments with their names as a drawing.
function segmentDrawing(now, { canvas, lines, texture, palette, aspect }) {
  const flat = element("canvas", "");
  Object.assign(flat, { width: lines.width, height: lines.height });
  const pen = flat.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(canvas, 0, 0, flat.width, flat.height);
  if (!texture.hidden) {
    pen.globalCompositeOperation = "multiply";
    Object.assign(pen, { filter: "grayscale(1)", globalAlpha: 0.5 });
    pen.drawImage(texture, 0, 0, flat.width, flat.height);
    Object.assign(pen, { globalCompositeOperation: "source-over", filter: "none", globalAlpha: 1 });
  }
  pen.drawImage(lines, 0, 0);
  const width = 480;
  const height = width / aspect;
  const rows = now.names.length;
  const made = drawing(width + 280, Math.max(height + 20, 24 * rows + 30));
  made.node("image", { href: flat.toDataURL("image/png"), x: 10, y: 10, width, height });
  now.names.forEach((name, k) => {
    const y = 30 + 24 * k;
    made.node("rect", { x: width + 25, y: y - 14, width: 18, height: 18, fill: palette[k % palette.length], stroke: "#000" });
    made.node("text", { x: width + 52, y, "font-size": 16 }, `${k}: ${name.slice(0, 18)}, ${(100 * now.shares[k]).toFixed(1)}%`);
  });
  return made;
}

export default { render };
