// TokenExplorer: point at a patch, see what its token was made from.
//
// Keys that never change: sides (of each: name, grid [h, w], size [H, W], n_prefix, makes: kinds that Python
// makes on demand, fills: whether to ask for all), books (the maps of one side and kind
// at one layer since another: side, kind, layer, since, rows, which are tokens, and widths), levels (uint8), largest and prefix_values (float32)
// with the maps of all books, left_out, layers, kinds, n_heads, lut (256 x RGB), image0, image1. A map may have variants:
// the whole map, then what came through heads 1..H, then what passed the heads by. A cell's value is
// level / 255 * largest; its colour is lut[level] on a map's own scale.
// Keys of the state: side, pinned (a token of that side), layer, since, kind, head, scale, prefix.

const STATE = ["side", "pinned", "layer", "since", "kind", "head", "scale", "prefix"];

// The controls; the returned function brings them back in step with the model.
function makeControls(root, model, library, under) {
  const layers = model.get("layers");
  const kinds = model.get("kinds");
  const box = element("div", "uk-controls", root);
  const binder = makeBinder(model);
  bindLayer(binder, box, layers, String);
  const offered = () => library.sinces(model.get("kind"), model.get("layer"));
  const named = (j) => `${j}${j === 0 ? ", the image" : j === model.get("layer") - 1 ? ", last block alone" : ""}`;
  const since = slider(box, "Since layer", { min: 0, max: 0, value: 0, format: (i) => named(offered()[i] ?? 0) },
    (i) => change(model, { since: offered()[i] }));
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
  return () => {
    binder.follow();
    since.box.hidden = offered().length < 2;
    since.input.max = Math.max(offered().length - 1, 0);
    since.set(Math.max(offered().indexOf(sinceOf(model)), 0));
  };
}

// The layer since which maps are shown: that asked for, or the one right below the layer if that is lower.
function sinceOf(model) {
  return Math.max(0, Math.min(model.get("since"), model.get("layer") - 1));
}

// How many of the maps wanted are there, with a bar and the time left, while they come in.
function makeFilling(root, onStop) {
  const line = element("p", "uk-filling", root);
  const bar = element("progress", "", line);
  const text = element("span", "", line);
  const toggle = button(line, "Stop", onStop);
  let begun = {}; // what was there when these maps began to come in
  return (there, total, title, running) => {
    line.hidden = there >= total;
    Object.assign(bar, { max: total, value: there });
    if (!running || begun.title !== title) begun = { title: running && title, there, at: performance.now() };
    const seconds = (performance.now() - begun.at) / 1000 / (there - begun.there) * (total - there);
    const left = there === begun.there ? "" : seconds < 100 ? `, about ${Math.ceil(seconds)} s left` : `, about ${Math.ceil(seconds / 60)} min left`;
    say(text, `${title}: ${there} of ${total} tokens${left}`);
    say(toggle, running ? "Stop" : "Work out the rest");
  };
}

function render({ model, el }) {
  const used = model.get("kinds").every((kind) => kind.startsWith("used by")); // columns of maps: where a token went
  const root = used ? makeRoot(el, "What used this token?",
    "The picture beside it shows which patches' tokens were made from the framed one.")
    : makeRoot(el, "What was this token made from?",
      "Point at a patch: the picture beside it shows from which patches its token was made. Click to keep it.");
  const library = makeLibrary(model);
  const sides = model.get("sides");
  let over = null; // what the pointer is on, [side, token], or null
  let filling = sides.every((side) => side.fills);
  let resting = 0;
  const follow = makeControls(root, model, library, (on) => panels.forEach((p) => { p.under.style.display = on ? "" : "none"; }));
  const stage = element("div", "uk-stage uk-pairs", root);
  const handlers = {
    over: (s, token) => {
      if (token < 0 || (over && over[0] === s && over[1] === token)) return;
      over = [s, token];
      show();
      clearTimeout(resting);
      resting = setTimeout(askNext, 100);
    },
    leave: () => { over = null; show(); },
    pin: (s, token) => { if (token >= 0) pin(s, token); },
  };
  const panels = sides.map((_, s) => makePanel(stage, model, s, handlers));
  const caption = makeCaption(root);
  const showFilling = makeFilling(root, () => { filling = !filling; show(); askNext(); });
  const actions = element("div", "uk-controls", root);

  function show() {
    const kept = [model.get("side"), model.get("pinned")];
    const [s, token] = over || kept;
    const [kind, layer, head, scale] = ["kind", "layer", "head", "scale"].map((key) => model.get(key));
    const through = { 0: "", "-1": ", past the heads" }[head] ?? `, head ${head}`;
    const since = sinceOf(model);
    const whole = since ? `the map since layer ${since}` : "the whole map";
    let shown = since;
    const said = panels.map((panel, i) => {
      const own = counterpart(sides[s], sides[i], token);
      const found = library.nearest([i, kind, layer, since], own);
      if (found.row) shown = found.since;
      return panel.draw(own, found.row, {
        head, scale, prefix: model.get("prefix"), shared: library.top(kind, layer, found.since),
        held: counterpart(sides[kept[0]], sides[i], kept[1]),
        title: `${kind}, layer ${layer}${sinceText(layer, found.row ? found.since : since)}${through}`,
        instead: found.since === since ? "" : library.makes(kind, i) ? `Last block alone; ${whole} is on its way`
          : `Last block alone; ${whole} of this token is not in this page`,
        lacking: library.makes(kind, i) ? "this map is being worked out ..."
          : `this token's map is not in this file; the maps of uk.explain(cap, layer=${layer}) hold all tokens`,
      });
    });
    say(caption, said.join("  |  "));
    const made = sides.map((_, i) => i).filter((i) => library.makes(kind, i));
    const total = made.reduce((sum, i) => sum + sides[i].grid[0] * sides[i].grid[1], 0);
    const there = made.reduce((sum, i) => sum + patchesOf(i), 0);
    showFilling(there, total, since ? `Maps of layer ${layer} since layer ${since}` : `Whole maps of layer ${layer}`, filling);
    Object.assign(el.dataset, { token, side: s, layer, since: shown, kind, head, scale, there, total });
  }

  const keyOf = (i, since = sinceOf(model)) => [i, model.get("kind"), model.get("layer"), since];
  const patchesOf = (i) => [...library.about(keyOf(i)).rows.keys()].filter((row) => row >= sides[i].n_prefix).length;

  const kernel = talk(model, caption, (content, buffers) => {
    if (whatIf.take(content, buffers)) return;
    if (!content.book) {
      filling = false;
      return;
    }
    library.take(content.book, buffers);
    if (!content.book.rows.length) filling = false;
    show();
    askNext();
  });

  const whatIf = makeWhatIf(root, actions, model, ["side", "pinned", "layer", "since", "kind"], (how) => kernel.ask({ what_if: model.get("pinned"), ...how }), true);

  // Ask the kernel for the maps of a place that are not here; false if all are.
  function askFor([s, token]) {
    return sides.map((side, i) => {
      const [, kind, layer, since] = keyOf(i);
      const own = counterpart(sides[s], side, token);
      if (!library.makes(kind, i) || library.find(keyOf(i), own)) return false;
      kernel.ask({ side: i, kind, layer, since, token: own });
      return true;
    }).some(Boolean);
  }

  // One question after the other: the last block of a layer of which nothing is here, the patch pointed at, that kept, the rest.
  function askNext() {
    if (kernel.waits()) return;
    const [, kind, layer, since] = keyOf(0);
    const made = sides.map((_, i) => i).filter((i) => library.makes(kind, i));
    const bare = made.find((i) => !library.about(keyOf(i, layer - 1)).rows.size);
    const open = filling ? made.find((i) => patchesOf(i) < sides[i].grid[0] * sides[i].grid[1]) : undefined;
    if (bare !== undefined) kernel.ask({ side: bare, kind, layer, since: layer - 1 });
    else if (over && askFor(over)) return;
    else if (!askFor([model.get("side"), model.get("pinned")]) && open !== undefined) kernel.ask({ side: open, kind, layer, since });
  }

  function pin(s, token) {
    change(model, { side: s, pinned: token });
    askFor([s, token]);
  }

  const heads = [0, ...Array.from({ length: model.get("n_heads") }, (_, i) => i + 1), -1];
  const layerBy = (by) => step(model, "layer", model.get("layers"), by);
  const sinceBy = (by) => {
    const offered = library.sinces(model.get("kind"), model.get("layer"));
    const next = offered[offered.indexOf(sinceOf(model)) + by];
    if (next !== undefined) change(model, { since: next });
  };
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
    "]": () => sinceBy(1),
    "[": () => sinceBy(-1),
    m: () => step(model, "kind", model.get("kinds"), 1),
    M: () => step(model, "kind", model.get("kinds"), -1),
    h: () => heads.length > 2 && step(model, "head", heads, 1, true),
    s: () => step(model, "scale", ["own", "shared"], 1, true),
    p: () => change(model, { prefix: !model.get("prefix") }),
    x: () => whatIf.start(),
    k: () => whatIf.start({ keep: true }),
    d: () => whatIf.start({ curve: true }),
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
  const keys = [["arrows", "move"], ["Enter", "keep the patch pointed at"], ["s", "scale"], ["p", "prefix tokens"], ["x", "take away what the map names"], ["k", "keep only that"], ["d", "deletion curve"]];
  if (model.get("layers").length > 1) keys.push(["+ -", "layer"]);
  if (model.get("kinds").some((kind) => model.get("layers").some((layer) => library.sinces(kind, layer).length > 1))) keys.push(["[ ]", "since"]);
  if (model.get("kinds").length > 1) keys.push(["m", "next map"]);
  if (model.get("n_heads")) keys.push(["h", "next head"]);
  keyHelp(root, keys);
  element("p", "uk-note", root, "The map leaves the token's own position out: that cell shows the patch itself. "
    + "Values are rounded to steps of 1/255 of each map's largest. Relevance is the raw number of the method; it has no unit."
    + library.note);
  notConnected(model, root, "a map that is not in this page can't be worked out here; view.live() in a notebook connects it.");

  const stop = watch(model, STATE, () => { follow(); show(); askNext(); });
  follow();
  show();
  askNext();
  return () => {
    stop();
    whatIf.stop();
    clearTimeout(resting);
    kernel.stop();
    panels.forEach((panel) => panel.address && URL.revokeObjectURL(panel.address));
  };
}

export default { render };
