// TokenExplorer: point at a patch, see what its token was made from.
//
// Keys that never change: sides (of each: name, grid [h, w], size [H, W], n_prefix), books (the maps of one side and kind
// at one layer: side, kind, layer, rows, which are tokens, and widths), levels (uint8), largest and prefix_values (float32)
// with the maps of all books, left_out, layers, kinds, n_heads, lut (256 x RGB), image0, image1. A map may have variants:
// the whole map, then what came through heads 1..H, then what passed the heads by. A cell's value is
// level / 255 * largest; its colour is lut[level] on a map's own scale.
// Keys of the state: side, pinned (a token of that side), layer, kind, head, scale, prefix.

const STATE = ["side", "pinned", "layer", "kind", "head", "scale", "prefix"];

// The controls; the returned function brings them back in step with the model.
function makeControls(root, model, under) {
  const layers = model.get("layers");
  const kinds = model.get("kinds");
  const box = element("div", "uk-controls", root);
  const binder = makeBinder(model);
  bindLayer(binder, box, layers, String);
  if (kinds.length > 1) binder.bind("kind", (set) => choice(box, "Map", sameText(kinds), kinds[0], set));
  if (model.get("n_heads")) {
    const heads = Array.from({ length: model.get("n_heads") }, (_, i) => [String(i + 1), `head ${i + 1} only`]);
    const options = [["0", "all heads"], ...heads, ["-1", "past the heads"]];
    binder.bind("head", (set) => choice(box, "Through", options, "0", set), String, Number);
  }
  const scales = [["own", "each map's own scale"], ["shared", "one scale for the layer"]];
  binder.bind("scale", (set) => choice(box, "Colours", scales, "own", set));
  if (model.get("sides").some((side) => side.n_prefix)) binder.bind("prefix", (set) => toggle(box, "Prefix tokens", false, set));
  toggle(box, "Image under the map", true, under);
  return binder.follow;
}

function render({ model, el }) {
  const root = makeRoot(el, "What was this token made from?",
    "Point at a patch: the picture beside it shows from which patches its token was made. Click to keep it.");
  const library = makeLibrary(model);
  const sides = model.get("sides");
  let over = null; // what the pointer is on, [side, token], or null
  const follow = makeControls(root, model, (on) => panels.forEach((p) => { p.under.style.display = on ? "" : "none"; }));
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
  const caption = makeCaption(root);
  const actions = element("div", "uk-controls", root);

  function show() {
    const [s, token] = over || [model.get("side"), model.get("pinned")];
    const [kind, layer, head, scale] = ["kind", "layer", "head", "scale"].map((key) => model.get(key));
    const through = { 0: "", "-1": ", past the heads" }[head] ?? `, head ${head}`;
    const said = panels.map((panel, i) => {
      const own = counterpart(sides[s], sides[i], token);
      return panel.draw(own, library.find([i, kind, layer], own), {
        head, scale, prefix: model.get("prefix"), shared: library.top(kind, layer),
        title: `${kind}, layer ${layer}${through}`,
        lacking: model.get("has_kernel") ? "click to work out this map"
          : `this token's map is not in this file; the maps of uk.explain(cap, layer=${layer}) hold all tokens`,
      });
    });
    say(caption, said.join("  |  "));
    Object.assign(el.dataset, { token, side: s, layer, kind, head, scale });
  }

  const kernel = talk(model, caption, (content, buffers) => {
    if (!content.book) return;
    library.take(content.book, buffers);
    show();
  });

  // Ask the kernel for the maps that are not here.
  function ask() {
    const [s, token, kind, layer] = ["side", "pinned", "kind", "layer"].map((key) => model.get(key));
    sides.forEach((side, i) => {
      const own = counterpart(sides[s], side, token);
      if (!library.find([i, kind, layer], own)) kernel.ask({ side: i, kind, layer, token: own }, "Working out this map ...");
    });
  }

  function pin(s, token) {
    change(model, { side: s, pinned: token });
    ask();
  }

  const heads = [0, ...Array.from({ length: model.get("n_heads") }, (_, i) => i + 1), -1];
  const layerBy = (by) => step(model, "layer", model.get("layers"), by);
  onKeys(root, {
    ...arrows((dy, dx) => {
      const side = sides[model.get("side")];
      const [h, w] = side.grid;
      const cell = Math.max(model.get("pinned") - side.n_prefix, 0);
      over = null;
      pin(model.get("side"), side.n_prefix + clamp(Math.floor(cell / w) + dy, 0, h - 1) * w + clamp((cell % w) + dx, 0, w - 1));
    }),
    Enter: (event) => over !== null && event.target.tagName !== "BUTTON" && pin(...over),
    "+": () => layerBy(1),
    "=": () => layerBy(1),
    "-": () => layerBy(-1),
    m: () => step(model, "kind", model.get("kinds"), 1),
    M: () => step(model, "kind", model.get("kinds"), -1),
    h: () => heads.length > 2 && step(model, "head", heads, 1, true),
    s: () => step(model, "scale", ["own", "shared"], 1, true),
    p: () => change(model, { prefix: !model.get("prefix") }),
  });

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
    + library.note);

  const stop = watch(model, STATE, () => { follow(); show(); ask(); });
  follow();
  show();
  return () => {
    stop();
    kernel.stop();
    panels.forEach((panel) => panel.address && URL.revokeObjectURL(panel.address));
  };
}

export default { render };
