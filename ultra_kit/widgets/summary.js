// SummaryExplorer: choose words of a summary, see which words of the document they came from.
//
// Keys that never change: document and summary (sentences: first, the index of the first word; pairs of what
// stands before a word and the word; tail), books (the evidence of one kind at one layer: kind, layer, contrast, rows,
// which are summary words, widths, and unused sentences and weak words where that is known), matrix (float32, the rows of
// all books), places (float32, where the mass of each row lies), explained, layers, kinds, can_contrast, left_out, lut,
// Keys of the state: chosen (summary words), layer, kind, beside, contrast, coverage.
// cut (whether the summary stops only because no tokens were left). A contrast has two sides: its kind is "", or "against".
// A document word's value is that of the chosen word, or the sum over several, each of whose rows is scaled to the sum 1;
// its colour is lut[round(255 * value / largest)].

const STATE = ["chosen", "layer", "kind", "beside", "contrast", "coverage"];
const AGAINST = "against"; // the kind of a contrast's other side
const PLACES = [["document", "#e3a23b"], ["summary so far", "#9cc3e4"], ["special tokens", "#bdbdc6"], ["prompt", "#a9d6b5"]];

// The evidence that is here, by [kind, layer, contrast]: sum(key, words) adds that of the words, or gives undefined.
function makeEvidence(model) {
  const parts = [["matrix", Float32Array], ["places", Float32Array]];
  const shelf = makeShelf(model, parts, (book) => [book.kind, book.layer, book.contrast]);
  const sum = (key, words) => {
    const rows = words.map((word) => shelf.find(key, word));
    if (!rows.length || rows.some((row) => !row)) return undefined;
    const values = new Float64Array(rows[0][0].length);
    for (const [row] of rows) {
      const whole = rows.length > 1 ? row.reduce((a, b) => a + b, 0) || 1 : 1;
      row.forEach((v, i) => { values[i] += v / whole; });
    }
    const shares = PLACES.map((_, i) => rows.reduce((total, [, places]) => total + places[i], 0) / rows.length);
    return { values, shares, top: values.reduce((a, b) => Math.max(a, b), 0) };
  };
  return { ...shelf, sum };
}

// The controls, with the layers and kinds that can be shown; `follow()` brings them back in step with the model.
function makeControls(root, model, shelf) {
  const live = model.get("has_kernel");
  const layers = model.get("layers").filter((layer) => live || shelf.has((book) => book.layer === layer));
  const kinds = model.get("kinds").filter((kind) => live || shelf.has((book) => book.kind === kind));
  const box = element("div", "uk-controls", root);
  const { bind, follow } = makeBinder(model);
  bindLayer({ bind }, box, layers, (layer) => `${layer} of ${layers[layers.length - 1]}`);
  if (kinds.length > 1) {
    bind("kind", (set) => choice(box, "Evidence", sameText(kinds), kinds[0], set));
    bind("beside", (set) => choice(box, "Beside it", [["", "nothing"], ...sameText(kinds)], "", set));
  }
  bind("coverage", (set) => toggle(box, "Coverage", false, set));
  const others = [...new Set(model.get("books").map((book) => book.contrast))].filter(Boolean);
  if (live && model.get("can_contrast")) {
    const input = element("input", "", labelled(box, "Why this word, not"));
    Object.assign(input, { type: "text", placeholder: "another word", size: 14 });
    bind("contrast", (set) => {
      input.addEventListener("change", () => set(input.value.trim()));
      return { set: (value) => { input.value = value; } };
    });
  } else if (others.length) {
    const options = [["", "(any other)"], ...sameText(others)];
    bind("contrast", (set) => choice(box, "Why this word, not", options, "", set));
  }
  return { layers, kinds, follow };
}

function render({ model, el }) {
  const root = makeRoot(el, "Where does the summary come from?",
    "Point at a word of the summary: the words of the document it was made from light up. Click to keep it; Shift and click takes all words up to another.");
  root.classList.add("uk-sum");
  const shelf = makeEvidence(model);
  let over = null; // the words the pointer is on, or null
  let anchor = null; // where a range of words began
  const handlers = {
    over: (words) => { if (String(over) !== String(words)) { over = words; show(); } },
    leave: () => { over = null; show(); },
    choose: (words) => { anchor = null; choose(words); },
    pick: (word, extend) => {
      if (!extend) anchor = word;
      else if (anchor === null) anchor = model.get("chosen")[0];
      const [from, to] = extend ? [Math.min(anchor, word), Math.max(anchor, word)] : [word, word];
      choose(explained.filter((w) => w >= from && w <= to));
    },
  };
  const explained = model.get("explained");
  const controls = makeControls(root, model, shelf);
  const summary = makeSummary(root, model, handlers);
  const caption = makeCaption(root);
  const places = makePlaces(root);
  const stage = element("div", "uk-sum-stage", root);
  const panels = [makePanel(stage, model), makePanel(stage, model)];
  const covered = element("p", "uk-caption uk-sum-covered", root);
  const actions = element("div", "uk-controls", root);
  const documentWords = model.get("document").flatMap((sentence) => sentence.pairs.map(([, word]) => word));
  const summaryWords = model.get("summary").flatMap((sentence) => sentence.pairs.map(([, word]) => word));

  const keysShown = () => {
    const [layer, kind, beside, contrast] = ["layer", "kind", "beside", "contrast"].map((key) => model.get(key));
    if (!contrast) return [[kind, layer, ""], ...(beside ? [[beside, layer, ""]] : [])];
    const both = (model.get("has_kernel") && model.get("can_contrast"))
      || shelf.has((book) => book.kind === AGAINST && book.layer === layer && book.contrast === contrast);
    return ["", ...(both ? [AGAINST] : [])].map((side) => [side, layer, contrast]);
  };

  function lackingText(key, words) {
    if (key[2] && words.length > 1) return "Choose one word for a contrast.";
    return model.get("has_kernel") ? "Click to work out this evidence." : "This evidence is not in this file.";
  }

  function show() {
    const words = over || model.get("chosen");
    const keys = keysShown();
    const found = keys.map((key) => shelf.sum(key, words));
    const coverage = keys.map((key) => shelf.about(key));
    const marked = model.get("coverage");
    panels.forEach((panel, i) => {
      panel.panel.hidden = i >= keys.length;
      if (i >= keys.length) return;
      const [kind, layer, contrast] = keys[i];
      panel.draw(found[i], {
        title: `Document: ${contrast ? whyText(kind, words, contrast) : kind}, layer ${layer}`,
        unit: `relevance (no unit), 0 to this map's largest`,
        lacking: lackingText(keys[i], words),
        unused: (marked && coverage[i].unused) || [],
      });
    });
    summary.mark(words, (marked && coverage[0].weak) || []);
    places(found[0] && found[0].shares);
    caption.textContent = said(words, found[0], keys[0]);
    covered.textContent = marked ? coverageText(keys, coverage) : "";
    Object.assign(el.dataset, { chosen: words.join(" "), layer: model.get("layer"), kind: keys[0][0], contrast: keys[0][2], found: found.map(Boolean).join(" "), coverage: String(marked) });
  }

  function whyText(side, words, contrast) {
    const [word, other] = [nameOf(words), contrast].map((text) => `“${shortened(text, 30)}”`);
    return side === AGAINST ? `what speaks for ${other} instead of ${word}` : `why ${word} rather than ${other}`;
  }

  const shortened = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
  const nameOf = (words) => words.map((w) => shortened(summaryWords[w], 40)).join(" ");

  function said(words, found, key) {
    const name = `“${shortened(nameOf(words), 80)}”`;
    if (!found) return `${name}: ${lackingText(key, words)}`;
    const best = Array.from(found.values.keys()).sort((a, b) => found.values[b] - found.values[a] || a - b).slice(0, 3);
    const list = best.filter((i) => found.values[i] > 0).map((i) => `“${shortened(documentWords[i], 30)}” ${found.values[i].toPrecision(3)}`);
    return list.length ? `${name} draws most on ${list.join(", ")}. Where its relevance lies:` : `${name} has no relevance in the document.`;
  }

  function coverageText(keys, coverage) {
    const { unused, weak } = coverage[0];
    if (keys[0][2]) return "Coverage is not told of a contrast, which is about one word.";
    if (!unused) return "Coverage is not known here: not every summary word was worked out.";
    const n = model.get("document").length;
    const words = weak.map((w) => `“${shortened(summaryWords[w], 30)}”`).join(", ") || "none";
    return `${unused.length} of ${n} document sentences are used by no summary word (hatched). Words of weak support: ${words}. `
      + "A word uses a sentence that holds twice its even share of the word's relevance, or the most of all; "
      + "support is weak below a quarter of the median.";
  }

  const kernel = talk(model, caption, (content, buffers) => {
    if (whatIf.take(content, buffers) || !content.book) return;
    shelf.take(content.book, buffers);
    show();
  });

  const whatIf = makeWhatIf(root, actions, model, ["chosen", "layer", "kind", "contrast"], (how) => kernel.ask({ what_if: model.get("chosen"), ...how }));

  // Ask the kernel for what is not here.
  function ask() {
    const chosen = model.get("chosen");
    for (const key of keysShown()) {
      if (key[2] && chosen.length > 1) continue;
      const all = model.get("coverage") && !key[2] && !shelf.about(key).unused;
      const words = all ? explained : chosen;
      if (!all && shelf.sum(key, words)) continue;
      kernel.ask({ kind: key[0], layer: key[1], contrast: key[2], words }, "Working out this evidence ...");
    }
  }

  function choose(words) {
    if (!words.length) return;
    over = null;
    change(model, { chosen: words });
    show();
    ask();
  }

  // The word, or the sentence, before or after the chosen.
  function move(by, extend) {
    const chosen = model.get("chosen");
    const at = explained.indexOf(by > 0 ? chosen[chosen.length - 1] : chosen[0]) + by;
    if (at < 0 || at >= explained.length) return;
    choose(extend ? [...new Set([...chosen, explained[at]])].sort((a, b) => a - b) : [explained[at]]);
  }

  function moveSentence(by) {
    const at = summary.sentences.findIndex((words) => words.includes(model.get("chosen")[0])) + by;
    const next = summary.sentences[at];
    if (next && next.length) handlers.choose(next);
  }

  onKeys(root, {
    ArrowRight: (event) => move(1, event.shiftKey),
    ArrowLeft: (event) => move(-1, event.shiftKey),
    ArrowDown: () => moveSentence(1),
    ArrowUp: () => moveSentence(-1),
    s: () => moveSentence(0),
    "+": () => step(model, "layer", controls.layers, 1),
    "=": () => step(model, "layer", controls.layers, 1),
    "-": () => step(model, "layer", controls.layers, -1),
    m: () => step(model, "kind", controls.kinds, 1, true),
    b: () => step(model, "beside", ["", ...controls.kinds], 1, true),
    c: () => change(model, { coverage: !model.get("coverage") }),
    x: () => whatIf.start(),
    k: () => whatIf.start({ keep: true }),
  });

  pictureButtons(actions, () => drawPage(root, summary, panels), "evidence");
  keyHelp(root, [["← →", "word (Shift: more words)"], ["↑ ↓", "sentence"], ["s", "the whole sentence"], ["+ -", "layer"], ["m", "next evidence"], ["b", "next beside"], ["c", "coverage"], ["x", "take away what the map names"], ["k", "keep only that"]]);
  element("p", "uk-note", root, "Shades run from 0 to the largest value of the map shown, so two maps are compared by where they lie, not by their numbers. "
    + "The bar and the percentage before a sentence say how much of the map's mass on the document lies in it. Several chosen words: the sum of their maps, each scaled to the same sum."
    + shelf.note);

  const changed = () => { controls.follow(); show(); ask(); };
  const stop = watch(model, STATE, changed);
  changed();
  return () => {
    stop();
    whatIf.stop();
    kernel.stop();
  };
}

export default { render };
