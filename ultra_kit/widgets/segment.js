// SegmentExplorer: the cut through the tree moves and the segments follow; merge, name, undo, take away.
//
// Keys that never change: grid [h, w], size [H, W], compared [h, w] of the maps, n_prefix, distance (its name), made (how the maps were), tokens, constant
// (tokens without contrast), linkage (float64, SciPy's), maps (float32), palette, lut, image.
// Keys of the state: threshold, merges (pairs of tokens), names (pairs of token and text), chosen (tokens),
// history (earlier { threshold, merges, names }).
// The clusters are those of Python's Segmentation.recut and .merge; the pixels are worked out the same way,
// shown at no more than 320 pixels per side, and written to files at the image's own size. What is worked
// out stands in segment_cut.js, what is drawn in segment_draw.js.

const SHOWN = 320;

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

  const steps = makeHistory(model, ["threshold", "merges", "names"]);
  function move(threshold, last) {
    before = before || steps.now();
    if (!last) {
      change(model, { threshold });
      return;
    }
    const began = before;
    before = null;
    steps.act({ threshold }, began);
  }

  const controls = element("div", "uk-controls", root);
  const threshold = slider(controls, "Threshold", { min: 0, max: limit, step: "any", value: model.get("threshold"), format: (v) => v.toFixed(3) }, (v) => move(v, false));
  threshold.input.addEventListener("change", () => move(Number(threshold.input.value), true));
  const counted = element("strong", "uk-count", controls);
  counted.setAttribute("aria-live", "polite");
  const mergeButton = button(controls, "Merge marked", merge, "Join the marked segments (m)");
  const undoButton = button(controls, "Undo", steps.undo, "Take the last step back (u)");

  const stage = element("div", "uk-stage", root);
  const { panel: left } = makeFigure(stage, "Segments");
  const picture = pictureBox(left, "", fullWidth / fullHeight, "");
  pointAtIt(picture, "Segments; left and right arrow go from one to the next, Enter marks");
  const canvas = element("canvas", "uk-map uk-labels", picture);
  const texture = greyTexture(picture, "uk-texture", address, 0, 0.5);
  const lines = element("canvas", "uk-input uk-lines", picture);
  const { panel: right, heading } = makeFigure(stage);
  const mean = element("canvas", "uk-map", pictureBox(right, "", fullWidth / fullHeight, ""));
  const [h, w] = model.get("compared");
  Object.assign(mean, { width: w, height: h });
  const bar = legend(right, lut, "mean relevance of its tokens (no unit)");
  const list = element("div", "uk-list", stage);
  const caption = element("p", "uk-caption", root);
  const treeBox = makeTreeBox(root, model.get("distance"), limit, move, paintTree);

  function paintTree() { drawTree(treeBox.canvas, tree, now, model.get("threshold"), limit, palette); }

  function merge() {
    const marked = chosenSegments();
    if (marked.length < 2) return;
    const first = marked.map((k) => now.members[k][0]);
    steps.act({ merges: [...model.get("merges"), ...first.slice(1).map((token) => [first[0], token])], chosen: [] });
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
      name.addEventListener("change", () => steps.act({ names: [...model.get("names"), [now.members[k][0], name.value]] }));
      element("span", "uk-share", row, `${(100 * now.shares[k]).toFixed(1)}%`);
    }
  }

  function show() {
    now = workOut(model, tree, maps);
    paintLabels(canvas, now, palette);
    threshold.set(model.get("threshold"));
    counted.textContent = `${now.count} segment${now.count === 1 ? "" : "s"}`;
    paintTree();
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
    const i = clamp(below + by, 0, levels.length - 2);
    steps.act({ threshold: (levels[i] + levels[i + 1]) / 2 });
  }

  onKeys(root, {
    ArrowRight: () => look((focus + 1) % now.count),
    ArrowLeft: () => look((focus + now.count - (focus < 0 ? 0 : 1)) % now.count),
    Enter: (event) => focus >= 0 && event.target.tagName !== "BUTTON" && mark(focus),
    "+": () => nextCut(1),
    "=": () => nextCut(1),
    "-": () => nextCut(-1),
    m: merge,
    u: steps.undo,
    r: () => focus >= 0 && list.querySelectorAll(".uk-name")[focus].select(),
  });

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
  const note = `A threshold is a ${model.get("distance")}: 0 joins only maps of one direction. Merges and names stay with their tokens when the threshold moves.`;
  const shrunk = Math.max(fullHeight, fullWidth) > SHOWN ? ` Shown at ${now.width}x${now.height}; files have the image's own ${fullWidth}x${fullHeight}.` : "";
  const without = model.get("constant").length;
  const made = model.get("made") ? ` Maps: ${model.get("made")}.` : "";
  element("p", "uk-note", root, note + made + shrunk + (without ? ` ${without} tokens have a map without contrast and belong to no segment.` : ""));

  notConnected(model, root, "what is changed here stays in this page; RLE and JSON take it away, view.live() in a notebook connects it.");

  // The tree is drawn in the ink of the theme, on paper in black.
  const themes = ["print", "(prefers-color-scheme: dark)"].map((query) => matchMedia(query));
  themes.forEach((theme) => theme.addEventListener("change", show));
  const stops = [treeBox.stop, ...themes.map((theme) => () => theme.removeEventListener("change", show)),
    watch(model, ["threshold", "merges", "names"], show), watch(model, ["chosen", "history"], () => { showList(); showFocus(); })];
  show();
  return () => {
    stops.forEach((stop) => stop());
    if (address) URL.revokeObjectURL(address);
  };
}

export default { render };
