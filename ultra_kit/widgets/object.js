// ObjectSelector: foreground and background points, a box or a text; the mask follows.
//
// Keys that never change: grid [h, w], size [H, W] of the image, working [H, W] at which the mask is worked
// out, image, looks (four bytes per pixel at that size), levels (uint8, M x M: value = (level / 255)^2, a row's largest is 1),
// prompts ([text, patch]), takes_text, code_end, numbers, made (how the maps were), lut.
// Keys of the state: wanted, unwanted (foreground and background: [[x, y]] in pixels of the image), box ([x0, y0, x1, y1] or []), prompt,
// threshold, history.

const PICKS = ["wanted", "unwanted", "box", "prompt"];

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

// Whether a point counts: inside the box, if there is one.
const inBox = ([x, y], box) => !box.length || (x >= box[0] && x < box[2] && y >= box[1] && y < box[3]);

const tenth = (v) => Math.round(10 * v) / 10;

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
  const prompt = places.size ? choice(controls, "Or name it", [["", "no text"], ...sameText([...places.keys()])], "",
    (text) => pick({ prompt: text })) : null;
  if (model.get("has_kernel") && model.get("takes_text")) {
    const free = element("input", "", labelled(controls, "Any text"));
    free.type = "text";
    free.addEventListener("change", () => { if (free.value.trim()) pick({ prompt: free.value.trim() }); });
  }
  const stage = element("div", "uk-stage", root);
  const picture = makePicture(stage, model);
  const { panel: right } = makeFigure(stage, "Relevance");
  const shown = pictureBox(right, "", W / H, "");
  const canvas = element("canvas", "uk-map uk-relevance", shown);
  const outline = element("canvas", "uk-map uk-outline", shown);
  for (const one of [canvas, outline]) [one.height, one.width] = model.get("working");
  legend(right, lut, "relevance: one half is Otsu's threshold").set(1);
  const caption = makeCaption(root);
  const code = element("code", "uk-code", root);
  const actions = element("div", "uk-controls", root);

  const { act: pick, undo } = makeHistory(model, PICKS);
  const reset = () => pick({ wanted: [], unwanted: [], box: [], prompt: "" });
  const point = (p, unwanted) => {
    const key = unwanted ? "unwanted" : "wanted";
    const pixel = picture.box.clientWidth / W;
    // The second click of a double click says nothing new.
    if (model.get(key).some((q) => Math.hypot(q[0] - p[0], q[1] - p[1]) * pixel < 4)) return;
    const other = unwanted ? "wanted" : "unwanted";  // the later word on a place holds
    const left = model.get(other).filter((q) => Math.hypot(q[0] - p[0], q[1] - p[1]) * pixel >= 4);
    pick({ [key]: [...model.get(key), p], [other]: left });
  };
  listen(picture, model, { point: (p, other) => point(p, other || mode.input.value === "unwanted"), box: (b) => pick({ box: b }) });
  const undoButton = button(actions, "Undo", undo);
  button(actions, "Start again", reset);
  button(actions, "Copy the line", () => navigator.clipboard && navigator.clipboard.writeText(code.textContent).catch(() => {}));

  const kernel = talk(model, caption, (content) => {
    if (!content.place) return;
    places.set(...content.place);
    work();
  });

  function work() {
    const [wanted, unwanted, box, text] = PICKS.map((key) => model.get(key));
    found = null;
    if (text && !places.has(text)) {
      kernel.ask({ text });
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
    picture.drawMask(mask, outline);
    const area = mask ? mask.reduce((a, b) => a + b, 0) : 0;
    caption.textContent = inWords(mask, area);
    code.textContent = found ? codeOf(model) : "";
    cut.set(threshold);
    if (prompt) prompt.set(model.get("prompt"));
    undoButton.disabled = !model.get("history").length;
    Object.assign(el.dataset, { area, threshold, code: code.textContent, picks: JSON.stringify(PICKS.map((key) => model.get(key))) });
  }

  // What is selected, or why nothing is, and which points do not count.
  function inWords(mask, area) {
    const [wanted, unwanted, box] = PICKS.map((key) => model.get(key));
    const idle = [...wanted, ...unwanted].filter((p) => !inBox(p, box)).length;
    const aside = idle ? ` ${idle} point${idle === 1 ? "" : "s"} outside the box ${idle === 1 ? "has" : "have"} no effect (drawn pale).` : "";
    if (!mask) {
      if (model.get("prompt")) return "This text's patch is not in this file: it needs a running kernel.";
      return unwanted.length ? "Only what does not belong is picked: click on the object, or drag a box round it." : "Nothing is picked yet.";
    }
    if (area) return `Selected: ${(100 * area / mask.length).toFixed(1)}% of the image.${aside}`;
    const most = found.values.reduce((a, b) => Math.max(a, b), 0);
    return `Nothing is selected: the largest relevance${box.length ? " in the box" : ""} is ${most.toFixed(2)}, the threshold `
      + `${model.get("threshold").toFixed(2)}. Lower the threshold, or click on the object itself.${aside}`;
  }

  const middle = () => [tenth((cursor[1] + 0.5) * W / w), tenth((cursor[0] + 0.5) * H / h)];
  const moveCut = (by) => change(model, { threshold: Math.round(100 * clamp(model.get("threshold") + by, 0, 1)) / 100 });
  onKeys(root, {
    ...arrows((dy, dx) => {
      cursor = [clamp(cursor[0] + dy, 0, h - 1), clamp(cursor[1] + dx, 0, w - 1)];
      picture.place([(cursor[1] + 0.5) * W / w, (cursor[0] + 0.5) * H / h]);
    }),
    Enter: (event) => event.target.tagName !== "BUTTON" && point(middle(), false),
    x: () => point(middle(), true),
    u: undo,
    r: reset,
    "+": () => moveCut(0.05),
    "-": () => moveCut(-0.05),
  });

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
    + `from Python's in pixels whose relevance lies at the threshold. Worked out at ${canvas.width} x ${canvas.height} pixels.`
    + (model.get("made") ? ` Maps: ${model.get("made")}.` : ""));
  notConnected(model, root, "what is picked here stays in this page; copy the line above into a cell, or use view.live() in a notebook.");

  // A step sets several keys, each of which tells; the work is done once.
  let due = false;
  const soon = () => {
    if (!due) queueMicrotask(() => { due = false; work(); });
    due = true;
  };
  const stops = [watch(model, [...PICKS, "history"], soon), watch(model, ["threshold"], draw)];
  work();
  return () => {
    [...stops, kernel.stop].forEach((stop) => stop());
    URL.revokeObjectURL(picture.address);
  };
}

export default { render };
