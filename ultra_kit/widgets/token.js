// TokenExplorer: point at a patch, see what its token was made from.
//
// Keys that never change: sides (of each: name, grid [h, w], size [H, W], n_prefix, and books:
// the maps of one kind at one layer), levels (uint8), largest and prefix_values (float32) with the maps of all
// books, layers, kinds, n_heads, lut (256 x RGB), image0, image1. A book's tokens have `variants` rows each:
// the whole map, then what came through heads 1..H, then what passed the heads by. A cell's value is
// level / 255 * largest; its colour is lut[level] on a map's own scale.
// Keys of the state: side, pinned (a token of that side), layer, kind, head, scale, prefix.

const STATE = ["side", "pinned", "layer", "kind", "head", "scale", "prefix"];

// The controls; each writes to the model, and `follow()` brings them back in step with it.
function makeControls(root, model, under) {
  const layers = model.get("layers");
  const kinds = model.get("kinds");
  const box = element("div", "uk-controls", root);
  const set = (name) => (value) => change(model, { [name]: value });
  const controls = {};
  if (layers.length > 1) {
    const format = (i) => String(layers[i]);
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
        lacking: model.get("has_kernel") ? "click to work out this map"
          : `this token's map is not in this file; the maps of uk.explain(cap, layer=${layer}) hold all tokens`,
      });
    });
    say(caption, said.join("  |  "));
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
