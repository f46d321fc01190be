// The parts of a SummaryExplorer: the summary, a document under one kind of evidence, and where the mass lies.

// A sentence as spans, one per word; the text content is the text's own characters.
function writeSentence(parent, sentence, spans) {
  const line = element("span", "uk-sum-text", parent);
  line.dir = "auto";
  sentence.pairs.forEach(([before, word], i) => {
    if (before) line.append(before);
    const span = element("span", "uk-sum-word", line, word);
    span.dataset.word = sentence.first + i;
    spans.push(span);
  });
  if (sentence.tail) line.append(sentence.tail);
  return line;
}

function wordOf(event) {
  const span = event.target.closest ? event.target.closest("[data-word]") : null;
  return span ? Number(span.dataset.word) : -1;
}

// The summary, whose words and sentences can be chosen.
function makeSummary(root, model, handlers) {
  const explained = new Set(model.get("explained"));
  const box = element("div", "uk-sum-said", root);
  box.tabIndex = 0;
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-multiselectable", "true");
  box.setAttribute("aria-label", "Words of the summary; arrow keys choose");
  const spans = [];
  const sentences = model.get("summary").map((sentence, k) => {
    const words = sentence.pairs.map((_, i) => sentence.first + i).filter((w) => explained.has(w));
    const line = element("div", "uk-sum-line", box);
    const mark = button(line, `sentence ${k + 1}`, () => handlers.choose(words), "Choose the whole sentence");
    mark.disabled = !words.length;
    mark.addEventListener("pointerenter", () => handlers.over(words));
    mark.addEventListener("pointerleave", handlers.leave);
    writeSentence(line, sentence, spans);
    return words;
  });
  if (model.get("cut")) element("p", "uk-sum-cut", root, "The summary was cut: the model had no tokens left (max_new_tokens).");
  spans.forEach((span, w) => {
    span.setAttribute("role", "option");
    if (!explained.has(w)) span.classList.add("uk-sum-mute");
  });
  box.addEventListener("pointerover", (event) => {
    const word = wordOf(event);
    if (explained.has(word)) handlers.over([word]);
  });
  box.addEventListener("pointerleave", handlers.leave);
  box.addEventListener("click", (event) => {
    const word = wordOf(event);
    if (explained.has(word)) handlers.pick(word, event.shiftKey);
  });
  const mark = (words, weak) => spans.forEach((span, w) => {
    span.classList.toggle("uk-sum-on", words.includes(w));
    span.classList.toggle("uk-sum-weak", weak.includes(w));
    span.setAttribute("aria-selected", String(words.includes(w)));
    span.title = weak.includes(w) ? "weak support in the document" : "";
  });
  return { box, spans, sentences, mark };
}

// The shade of a level, 0..255: by day the table's, by night from the dark paper to a brown on which light words can be read.
function shadeOf(lut, level) {
  const night = [23, 23, 27].map((v, i) => Math.round(v + ((([160, 80, 0][i] - v) * level) / 255)));
  return `light-dark(rgb(${lut.subarray(3 * level, 3 * level + 3).join(", ")}), rgb(${night.join(", ")}))`;
}

// The document under one kind of evidence, with its colour bar.
function makePanel(stage, model) {
  const lut = bytes(model, "lut");
  const panel = element("figure", "uk-sum-panel", stage);
  const heading = element("figcaption", "", panel);
  const bar = legend(panel, lut, "");
  // What is seen follows the theme; the canvas is for saved pictures, which are by day.
  bar.strip = element("span", "uk-bar");
  bar.strip.style.background = `linear-gradient(to right, ${[0, 51, 102, 153, 204, 255].map((v) => shadeOf(lut, v)).join(", ")})`;
  bar.bar.before(bar.strip);
  const missing = element("p", "uk-sum-missing", panel);
  const list = element("div", "uk-sum-list", panel);
  const spans = [];
  const rows = model.get("document").map((sentence, k) => {
    const row = element("div", "uk-sum-row", list);
    element("span", "uk-sum-number", row, String(k + 1));
    const meter = element("i", "", element("span", "uk-sum-meter", row));
    const share = element("span", "uk-sum-share", row);
    writeSentence(row, sentence, spans);
    const tag = element("span", "uk-sum-tag", row);
    return { row, meter, share, tag, from: sentence.first, to: sentence.first + sentence.pairs.length };
  });

  function draw(found, { title, unit, lacking, unused }) {
    heading.textContent = title;
    missing.textContent = found ? "" : lacking;
    const values = found ? found.values : new Float64Array(spans.length);
    const top = found && found.top > 0 ? found.top : 0;
    bar.set(top, unit);
    values.forEach((value, i) => {
      const level = top ? Math.round((255 * value) / top) : 0;
      spans[i].style.background = level ? shadeOf(lut, level) : "";
      spans[i].title = found ? `relevance ${value.toPrecision(3)}` : "";
    });
    const total = values.reduce((a, b) => a + b, 0);
    rows.forEach(({ row, meter, share, tag, from, to }, k) => {
      const part = total > 0 ? values.subarray(from, to).reduce((a, b) => a + b, 0) / total : 0;
      meter.style.width = `${100 * part}%`;
      share.textContent = found ? `${Math.round(100 * part)}%` : "";
      row.classList.toggle("uk-sum-unused", unused.includes(k));
      tag.textContent = unused.includes(k) ? "used by no summary word" : "";
    });
    panel.dataset.largest = String(top);
  }
  return { panel, heading, bar, spans, rows, draw };
}

// Where the relevance of the chosen words lies: a bar in parts, and their names.
function makePlaces(root) {
  const box = element("div", "uk-sum-where", root);
  const names = element("div", "uk-sum-names", root);
  const parts = PLACES.map(([, colour]) => {
    const part = element("span", "", box);
    const name = element("span", "", names);
    element("i", "uk-swatch", name).style.background = part.style.background = colour;
    return { part, text: element("span", "", name) };
  });
  return (shares) => {
    box.hidden = names.hidden = !shares;
    (shares || []).forEach((share, i) => {
      parts[i].part.style.flexBasis = `${100 * share}%`;
      parts[i].text.textContent = ` ${PLACES[i][0]} ${Math.round(100 * share)}%`;
    });
  };
}
