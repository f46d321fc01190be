// EmbeddingExplorer: tokens of many inputs on a plane; point at one, cut some out, see where they come from.
//
// Keys that never change: titles (of the atlas, and of the one beside it if there is one), and of each: places (uint16, x and y
// of every point, upwards), corners [x, y] and steps (their unit: corner + step * places are the points of Python), and alike
// (uint16: of every point those most alike in other inputs, or empty); source (uint16: input, token), inputs (of an image: name, grid [h, w], n_prefix, size
// [h, w] of its picture; of a text: name, text, words [start, end, tokens]), sheet (a picture of all images, in square cells),
// sheet_cells [side, columns], holders (uint16) and shares (uint8) of the strongest tokens of every point's map, paints (ways
// to colour: key, kind: classes, ramp or place, code: the array in Python, python: what it equals, names, colours,
// none, scale), paint_values (int16, one row per way), ramp, places_lut and lut (256 x RGB), made (a sentence).
// Keys of the state: paint, selected (points), pinned (a point, or -1), moved (whether the points stand as in the atlas beside).

// A path with fewer corners, none further than `most` from it (Douglas and Peucker).
function simplified(path, most) {
  if (path.length < 3) return path;
  const [[x0, y0], [x1, y1]] = [path[0], path[path.length - 1]];
  const long = Math.hypot(x1 - x0, y1 - y0);
  const far = path.map(([x, y]) => (long ? Math.abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / long : Math.hypot(x - x0, y - y0)));
  const k = far.reduce((best, d, i) => (d > far[best] ? i : best), 0);
  if (far[k] <= most) return [path[0], path[path.length - 1]];
  return [...simplified(path.slice(0, k + 1), most).slice(0, -1), ...simplified(path.slice(k), most)];
}

function render({ model, el }) {
  const titles = model.get("titles");
  const root = makeRoot(el, "Many tokens at once",
    "Every point is a token; what lies together is alike. Point at one to see it in its picture or sentence; draw round some to see where they come from."
    + (titles.includes("by map") ? " By latent tokens are alike in what they are, by map in what they were made from." : ""));
  const quantised = new Uint16Array(owned(model.get("places")));
  const n = quantised.length / 2 / titles.length;
  const atlases = titles.map((_, a) => [0, 1].map((k) => Float64Array.from({ length: n }, (_, i) => quantised[2 * (a * n + i) + k] / 65535)));
  const now = () => Number(model.get("moved")); // the number of the atlas shown
  const lut = bytes(model, "lut");
  const paints = makePaints(model);
  const inputs = makeInputs(model, () => {
    el.dataset.sheet = "there";
    strip.draw();
    showCard();
    plot.refresh();
  });
  // A fixed shuffle, so that no input covers the others.
  const shuffled = Uint32Array.from({ length: n }, (_, i) => i).sort((a, b) => ((a * 2654435761) >>> 0) - ((b * 2654435761) >>> 0));
  let over = -1; // the point under the pointer
  let lookedClass = null; // the class of the legend under the pointer
  let litClasses = null; // the classes with selected points
  let made = { selected: [], code: "" }; // the last selection made here, and its line

  const controls = element("div", "uk-controls", root);
  const binder = makeBinder(model);
  binder.bind("paint", (set) => choice(controls, "Colour by", [...paints.values()].map((way) => [way.key, way.key]), model.get("paint"), set));
  const placed = titles.length > 1 ? element("span", "uk-control", controls) : null;
  if (placed) element("span", "uk-label", placed, "Placed");
  const placeButtons = placed ? titles.map((title, a) => button(placed, title, () => move(a), "Let the points move there (m)")) : [];
  const cutButton = button(controls, "Lasso", () => setCutting(!plot.lassoing), "Draw round points to select them (l); Shift and drag does so at any time");
  button(controls, "+", () => plot.zoomAt(plot.width / 2, plot.height / 2, 1.5), "Closer").setAttribute("aria-label", "Closer");
  button(controls, "−", () => plot.zoomAt(plot.width / 2, plot.height / 2, 1 / 1.5), "Further away").setAttribute("aria-label", "Further away");
  button(controls, "All", () => plot.goHome(), "Show all points (0)");
  const clearButton = button(controls, "Clear", clear, "Select nothing (Escape)");
  const stage = element("div", "uk-emb-stage", root);
  const left = element("div", "", stage);
  const plot = makePlot(left, ...atlases[now()].map((q) => q.slice()), { over: look, pick: pin, lasso, decorate, drawn });
  const legendBox = element("div", "uk-emb-legend", left);
  const card = makeCard(stage, inputs, titles, lut, pin);
  const caption = makeCaption(root);
  const code = element("code", "uk-code", root);
  const actions = element("div", "uk-controls", root);
  const copyButton = button(actions, "Copy the line", () => navigator.clipboard && navigator.clipboard.writeText(code.textContent).catch(() => {}));
  const strip = makeStrip(root, inputs, { over: look, pick: pin, rgb: rgbOfPoint });
  const way = () => paints.get(model.get("paint"));

  function rgbOfPoint(i) {
    const v = way().values[i];
    return v < 0 || (lookedClass !== null && lookedClass !== v) ? null : way().rgb(v);
  }

  const kernel = talk(model, caption, (content, buffers) => {
    if (content.point === undefined) return;
    inputs.likes.set(content.point, content.alike);
    if (buffers.length) inputs.maps.set(content.point, new Uint8Array(owned(buffers[0])));
    showCard();
  });

  function look(i) {
    if (i === over) return;
    over = i;
    showCard();
    strip.mark(i >= 0 ? i : model.get("pinned"));
    plot.draw();
  }
  function pin(i) {
    over = i;
    change(model, { pinned: i });
    if (i >= 0) plot.goTo(i);
  }
  function select(selected, line) {
    made = { selected, code: line };
    change(model, { selected });
  }
  function move(a) {
    if (titles.length > 1) change(model, { moved: Boolean(a) });
  }
  function clear() {
    if (plot.path) plot.path = null;
    over = -1;
    change(model, { selected: [], pinned: -1 });
  }
  // The corners are rounded first: the line of Python finds the same points.
  function lasso(path) {
    const [corner, unit] = [model.get("corners")[now()], model.get("steps")[now()]];
    const inPython = atlases[now()].map((q, k) => q.map((v) => corner[k] + unit * Math.round(65535 * v)));
    const first = titles.length > 1 ? `view.moved = ${now() ? "True" : "False"}; ` : "";
    const digits = Math.max(0, 3 - Math.floor(Math.log10(unit * 65535)));
    const round = (v) => Number(v.toFixed(digits));
    const polygon = simplified(path, 2 / plot.camera.k).map(([x, y]) => [round(corner[0] + unit * 65535 * x), round(corner[1] + unit * 65535 * y)]);
    select(pointsInside(...inPython, polygon), `${first}view.selected = view.inside([${polygon.map((p) => `(${p.join(", ")})`).join(", ")}])`);
  }
  function pickClass(k) {
    const { values, code: array, python } = way();
    select([...shuffled].filter((i) => values[i] === k).sort((a, b) => a - b),
      `view.selected = np.flatnonzero(${array} == ${k < 0 ? "-1" : python[k]})`);
  }
  function codeOf(selected) {
    if (!selected.length) return "";
    if (selected.length === made.selected.length && selected.every((i, k) => i === made.selected[k])) return made.code;
    return selected.length > 1000 ? `view.selected  # ${selected.length.toLocaleString("en")} points` : `view.selected = [${selected.join(", ")}]`;
  }
  function setCutting(on) {
    plot.lassoing = on;
    plot.box.classList.toggle("uk-emb-cutting", on);
    press(cutButton, on);
  }

  function showCard() {
    const i = over >= 0 ? over : model.get("pinned");
    card(i, i < 0 ? "" : [...paints.values()].map((one) => paintText(one, i)).filter(Boolean).join(" · "));
    const { length } = model.get("selected");
    say(caption, i < 0 ? `${length ? `${length.toLocaleString("en")} of ` : ""}${n.toLocaleString("en")} tokens${length ? " are selected" : ""}.` : `${inputs.placeText(i)}: point ${i}, ${paintText(paints.values().next().value, i)}.`);
    if (i >= 0 && i === model.get("pinned") && !inputs.likes.has(i)) kernel.ask({ point: i });
    Object.assign(el.dataset, { looked: i, pinned: model.get("pinned") });
  }

  // What changes with colours and selection: the colour of every point, and which lie on top.
  function show() {
    binder.follow();
    const selected = model.get("selected");
    const lit = selected.length ? new Uint8Array(n) : null;
    for (const i of selected) lit[i] = 1;
    litClasses = lit && new Set(selected.map((i) => way().values[i]));
    const [paper, ink] = ["backgroundColor", "color"].map((key) => getComputedStyle(plot.box)[key].match(/\d+/g).slice(0, 3).map(Number));
    const faded = packedColour(mixed(paper, ink, 0.16));
    const none = packedColour(mixed(paper, ink, 0.34));
    const low = [];
    const high = [];
    for (const i of shuffled) {
      const rgb = rgbOfPoint(i);
      const up = lit ? lit[i] : lookedClass === null ? rgb : rgb || way().values[i] === lookedClass;
      plot.colours[i] = up || !(lit || lookedClass !== null) ? (rgb ? packedColour(rgb) : none) : faded;
      (up ? high : low).push(i);
    }
    plot.layers = [{ order: Uint32Array.from(low), grow: 0.8 }, { order: Uint32Array.from(high), grow: lit ? 1.15 : 1 }];
    plot.refresh();
  }
  function showSelection() {
    const selected = model.get("selected");
    const lit = selected.length ? new Uint8Array(n) : null;
    for (const i of selected) lit[i] = 1;
    strip.show(lit);
    strip.mark(model.get("pinned"));
    say(code, codeOf(selected));
    code.hidden = copyButton.disabled = !selected.length;
    clearButton.disabled = !selected.length && model.get("pinned") < 0;
    Object.assign(el.dataset, { selected: selected.length, code: code.textContent });
    show();
    showCard();
  }
  function showPaint() {
    lookedClass = null;
    showLegend(legendBox, way(), { over: (k) => { lookedClass = k; show(); strip.draw(); }, pick: pickClass });
    el.dataset.paint = model.get("paint");
    show();
    strip.draw();
  }
  function showPinned() {
    showCard();
    strip.mark(model.get("pinned"));
    clearButton.disabled = !model.get("selected").length && model.get("pinned") < 0;
    plot.draw();
  }

  function press(one, on) {
    one.classList.toggle("uk-emb-on", on);
    one.setAttribute("aria-pressed", String(on));
  }
  function pressPlace() { placeButtons.forEach((one, a) => press(one, a === now())); }
  function showMoved() {
    pressPlace();
    plot.glide(...atlases[now()]);
  }

  const decorator = makeDecorator(inputs, way, () => ({ over, pinned: model.get("pinned"), lit: litClasses }));
  function decorate(pen, state) { decorator(pen, state); }
  function drawn({ camera, ratio, home, gliding }) {
    Object.assign(el.dataset, { x: camera.x, y: camera.y, zoom: camera.k / home.k, ratio, moved: gliding ? "on the way" : model.get("moved") });
  }

  const canvasKeys = (event) => event.target === plot.box;
  const panBy = (dy, dx) => {
    plot.pan(-60 * dx * plot.ratio, -60 * dy * plot.ratio);
    lookAtMiddle();
  };
  const zoomBy = (factor) => {
    plot.zoomAt(plot.width / 2, plot.height / 2, factor);
    lookAtMiddle();
  };
  // By keys the point nearest to the middle is looked at, once it has come there.
  function lookAtMiddle() {
    plot.crosshair = true;
    requestAnimationFrame(() => look(plot.nearest(plot.width / 2, plot.height / 2, Infinity)));
  }
  onKeys(root, {
    ...arrows((dy, dx) => panBy(dy, dx)),
    "+": () => zoomBy(1.5),
    "=": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    0: () => plot.goHome(),
    l: () => setCutting(!plot.lassoing),
    m: () => move(1 - now()),
    Escape: clear,
    Enter: (event) => canvasKeys(event) && over >= 0 && pin(over),
  });

  pictureButtons(actions, () => {
    const width = 800;
    const height = Math.round((width * plot.height) / plot.width);
    const flat = element("canvas", "");
    Object.assign(flat, { width: plot.width, height: plot.height });
    const pen = flat.getContext("2d");
    [plot.canvas, plot.over].forEach((one) => pen.drawImage(one, 0, 0));
    const entries = way().kind === "classes" ? way().order.filter((k) => way().count[k]).slice(0, 24) : [];
    const picture = drawing(width + 40, height + 50 + 26 * Math.ceil(entries.length / 4));
    picture.node("text", { x: 20, y: 24, "font-size": 16, "font-weight": 600 }, `${n.toLocaleString("en")} tokens by ${way().key}${titles.length > 1 ? `, placed ${titles[now()]}` : ""}`);
    picture.node("image", { href: flat.toDataURL("image/png"), x: 20, y: 36, width, height });
    entries.forEach((k, i) => {
      const [x, y] = [20 + (i % 4) * 200, height + 58 + 26 * Math.floor(i / 4)];
      picture.node("circle", { cx: x + 8, cy: y - 5, r: 7, fill: cssColour(way().rgb(k)) });
      picture.node("text", { x: x + 22, y, "font-size": 14 }, `${way().names[k].slice(0, 22)} (${way().count[k]})`);
    });
    return picture;
  }, "embedding");
  keyHelp(root, [["arrows", "move"], ["+ -", "zoom"], ["Enter", "keep the point in the middle"], ["l", "lasso"], ["Shift", "and drag: lasso"],
    ["0", "all"], ...(titles.length > 1 ? [["m", "move the points to the other atlas"]] : []), ["Esc", "clear"]]);
  element("p", "uk-note", root, `Distances on the plane are not to scale: near is alike, far says little. ${model.get("made")} `
    + "Places are rounded to 1/65535 of the width; of a map its strongest positions are shown, in steps of 1/255 of the largest.");
  notConnected(model, root, "what is selected here stays in this page; view.live() in a notebook hands it to view.selected.");

  const stops = [watch(model, ["paint"], showPaint), watch(model, ["selected"], showSelection), watch(model, ["pinned"], showPinned), watch(model, ["moved"], showMoved)];
  el.dataset.points = n;
  if (!inputs.photos) el.dataset.sheet = "none";
  setCutting(false);
  pressPlace();
  showSelection();
  showPaint();
  showPinned();
  return () => {
    stops.forEach((stop) => stop());
    kernel.stop();
    plot.stop();
    inputs.stop();
  };
}

export default { render };
