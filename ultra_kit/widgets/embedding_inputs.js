// The inputs of an EmbeddingExplorer: photographs, the cells of one sheet, or texts; the units of each (patches or words),
// the points that stand for them, and the strip of inputs.

const MOST_INPUTS = 24; // of the strip, until more are asked for

// What is known of the inputs, by their number.
function makeInputs(model, redraw) {
  const about = model.get("inputs");
  const source = new Uint16Array(owned(model.get("source"))); // input, token of each point
  const holders = new Uint16Array(owned(model.get("holders"))); // the strongest tokens of each point's map
  const shares = new Uint8Array(owned(model.get("shares")));
  const n = source.length / 2;
  const depth = n ? holders.length / n : 0;
  const [side, columns] = model.get("sheet_cells");
  const words = about.map((one) => {
    const owner = new Map();
    (one.words || []).forEach(([, , tokens], k) => tokens.forEach((token) => owner.set(token, k)));
    return owner;
  });
  const unitOf = (input, token) => (about[input].grid ? token - about[input].n_prefix : words[input].get(token) ?? -1);
  const points = about.map(() => new Map()); // of each input the points of each unit: of several layers, or of the tokens of a word
  const units = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    units[i] = unitOf(source[2 * i], source[2 * i + 1]);
    const known = points[source[2 * i]];
    if (!known.has(units[i])) known.set(units[i], []);
    known.get(units[i]).push(i);
  }
  const sheet = new Image();
  const address = model.get("sheet").byteLength ? pictureAddress(bytes(model, "sheet")) : "";
  if (address) {
    sheet.onload = redraw;
    sheet.src = address;
  }
  const packed = new Uint16Array(owned(model.get("alike")));
  const maps = new Map(); // whole maps that the kernel sent, by point: levels of all units
  const likes = new Map(); // and the points most alike in other inputs, a list for each atlas
  const atlases = model.get("titles").length;
  const k = packed.length / n / atlases;
  const alikeOf = (i) => likes.get(i) || Array.from({ length: atlases }, (_, a) => [...packed.subarray((a * n + i) * k, (a * n + i + 1) * k)]);

  // The map of a point as levels of units: [[unit, level]].
  function mapOf(i) {
    if (maps.has(i)) return [...maps.get(i)].map((level, unit) => [unit, level]);
    const found = new Map();
    for (let k = i * depth; k < (i + 1) * depth; k++) {
      const unit = unitOf(source[2 * i], holders[k]);
      if (unit >= 0 && shares[k]) found.set(unit, Math.max(found.get(unit) || 0, shares[k]));
    }
    return [...found];
  }
  // Make a canvas for a photograph: about `wide` pixels, its patches whole ones, so that no seam shows.
  function fitCanvas(canvas, input, wide) {
    const { grid: [h, w], size } = about[input];
    Object.assign(canvas, { width: w * Math.ceil(wide / w), height: h * Math.ceil((wide * size[0]) / size[1] / h) });
  }
  // The cell of a unit in a picture of this width and height: [x, y, width, height].
  function cellOf(input, unit, width, height) {
    const { grid: [h, w] } = about[input];
    return [((unit % w) * width) / w, (Math.floor(unit / w) * height) / h, width / w, height / h];
  }
  // Part of a photograph: `from` [x, y, width, height] in its own pixels, `to` on the canvas.
  function drawPart(pen, input, [x, y, w, h], to) {
    if (address && sheet.complete) pen.drawImage(sheet, (input % columns) * side + x, Math.floor(input / columns) * side + y, w, h, ...to);
  }
  function drawPhoto(pen, input, width, height) {
    const { size: [h, w] } = about[input];
    drawPart(pen, input, [0, 0, w, h], [0, 0, width, height]);
  }
  function drawCell(pen, input, unit, width, height) {
    const { size: [h, w] } = about[input];
    drawPart(pen, input, cellOf(input, unit, w, h), cellOf(input, unit, width, height));
  }
  // A patch with those round it, in a square.
  function drawPatch(pen, i, x, y, size) {
    const input = source[2 * i];
    const { size: [h, w] } = about[input];
    const [left, top, wide, high] = cellOf(input, units[i], w, h);
    const reach = Math.min(3 * Math.max(wide, high), w, h);
    drawPart(pen, input, [clamp(left + wide / 2 - reach / 2, 0, w - reach), clamp(top + high / 2 - reach / 2, 0, h - reach), reach, reach],
      [x, y, size, size]);
  }
  function wordOf(i) {
    const { text, words: known } = about[source[2 * i]];
    const word = known[units[i]];
    return word ? text.slice(word[0], word[1]) : "";
  }
  // Where a point comes from, in words.
  function placeText(i) {
    const one = about[source[2 * i]];
    const token = source[2 * i + 1];
    if (units[i] < 0) return `token ${token} of ${one.name}`;
    if (!one.grid) return `“${wordOf(i)}” in ${one.name}`;
    return `Patch in row ${Math.floor(units[i] / one.grid[1])}, column ${units[i] % one.grid[1]} of ${one.name}`;
  }
  return { about, source, units, points, maps, likes, alikeOf, n, mapOf, fitCanvas, cellOf, drawPhoto, drawCell, drawPatch, wordOf, placeText, photos: Boolean(address),
    // The first point of a unit, or the first of those lit; -1 for none.
    pointOf: (input, unit, lit) => (points[input].get(unit) ?? []).find((i) => !lit || lit[i]) ?? -1,
    stop: () => address && URL.revokeObjectURL(address) };
}

function outlined(pen, [x, y, w, h], colour, width) {
  for (const [style, wide] of [["#000", width + 2], [colour, width]]) {
    Object.assign(pen, { strokeStyle: style, lineWidth: wide });
    pen.strokeRect(x, y, w, h);
  }
}

// The words of a text as spans, from character `from` to `to`; `each(span, unit)` is called for every word.
function writeWords(box, one, from, to, each) {
  let at = from;
  one.words.forEach(([start, end], unit) => {
    if (start < from || end > to) return;
    box.append(one.text.slice(at, start));
    each(element("span", "uk-emb-word", box, one.text.slice(start, end)), unit);
    at = end;
  });
  box.append(one.text.slice(at, to));
}

// A point's patch in the photograph, with its map.
function drawMapped(canvas, inputs, i, wide, lut) {
  const input = inputs.source[2 * i];
  inputs.fitCanvas(canvas, input, wide);
  const pen = canvas.getContext("2d");
  inputs.drawPhoto(pen, input, canvas.width, canvas.height);
  const map = inputs.mapOf(i);
  if (map.length) {
    pen.fillStyle = "rgb(0 0 0 / .4)"; // what the map names stands out
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }
  for (const [unit, level] of map) {
    pen.fillStyle = `rgb(${lut[3 * level]} ${lut[3 * level + 1]} ${lut[3 * level + 2]} / ${0.25 + (0.5 * level) / 255})`;
    pen.fillRect(...inputs.cellOf(input, unit, canvas.width, canvas.height));
  }
  if (inputs.units[i] >= 0) outlined(pen, inputs.cellOf(input, inputs.units[i], canvas.width, canvas.height), "#fff", 4);
}

// A point's word in its sentence, with `reach` characters on both sides and its map.
function writeMapped(box, inputs, i, reach, lut) {
  const one = inputs.about[inputs.source[2 * i]];
  const own = one.words[inputs.units[i]] || [0, 0];
  const from = own[0] < reach ? 0 : one.text.indexOf(" ", own[0] - reach) + 1;
  const to = Math.min(one.text.length, own[1] + reach);
  const map = new Map(inputs.mapOf(i));
  box.replaceChildren(from ? "… " : "");
  writeWords(box, one, from, to, (span, unit) => {
    const level = map.get(unit) || 0;
    if (level) span.style.cssText = `background: rgb(${lut[3 * level]} ${lut[3 * level + 1]} ${lut[3 * level + 2]}); color: ${level > 140 ? "#000" : "#fff"}`;
    span.classList.toggle("uk-emb-own", unit === inputs.units[i]);
  });
  if (to < one.text.length) box.append(" …");
}

// The inputs concerned, with their patches or words lit; `on` has over(i), pick(i) and rgb(i), a point's colour or null.
function makeStrip(parent, inputs, on) {
  const heading = element("p", "uk-subtitle", parent);
  const box = element("div", "uk-emb-strip", parent);
  const moreButton = button(parent, "Show more", () => { most += MOST_INPUTS; build(); });
  let most = MOST_INPUTS;
  let lit = null; // a Uint8Array over the points, or null where nothing is selected
  let items = [];

  function drawPhoto({ canvas, input, cursor }) {
    const pen = canvas.getContext("2d");
    inputs.drawPhoto(pen, input, canvas.width, canvas.height);
    if (lit) {
      pen.fillStyle = "rgb(0 0 0 / .62)";
      pen.fillRect(0, 0, canvas.width, canvas.height);
    }
    for (const unit of inputs.points[input].keys()) {
      const i = inputs.pointOf(input, unit, lit);
      if (unit < 0 || i < 0) continue;
      const cell = inputs.cellOf(input, unit, canvas.width, canvas.height);
      if (lit) inputs.drawCell(pen, input, unit, canvas.width, canvas.height);
      const rgb = on.rgb(i);
      if (rgb) {
        pen.fillStyle = `rgb(${rgb.join(" ")} / ${lit ? 0.25 : 0.5})`;
        pen.fillRect(...cell);
      }
    }
    if (cursor >= 0) outlined(pen, inputs.cellOf(input, cursor, canvas.width, canvas.height), "#fff", 2);
  }
  function drawText({ spans, input, cursor }) {
    spans.forEach((span, unit) => {
      const i = inputs.pointOf(input, unit, lit);
      const rgb = i >= 0 && on.rgb(i);
      span.style.boxShadow = rgb ? `inset 0 -.28em ${cssColour(rgb)}` : "";
      span.classList.toggle("uk-emb-lit", Boolean(lit && i >= 0));
      span.classList.toggle("uk-emb-own", unit === cursor);
    });
  }
  const drawItem = (item) => (item.canvas ? drawPhoto(item) : drawText(item));
  const draw = () => items.forEach(drawItem);

  function makeItem(input, count) {
    const one = inputs.about[input];
    const figure = element("figure", one.grid ? "uk-emb-item" : "uk-emb-item uk-emb-long", box);
    const item = { input, cursor: -1 };
    const frame = element("div", "uk-emb-frame", figure);
    frame.dataset.input = input;
    pointAtIt(frame, `${one.name}: arrow keys go from ${one.grid ? "patch to patch" : "word to word"}, Enter keeps the point`);
    const units = one.grid ? one.grid[0] * one.grid[1] : one.words.length;
    const unitUnder = (event) => (one.grid ? cellAt(event, frame, ...one.grid) : Number(event.target.dataset.unit ?? -1));
    if (one.grid) {
      item.canvas = element("canvas", "uk-emb-photo", frame);
      inputs.fitCanvas(item.canvas, input, 256);
    } else {
      item.spans = [];
      writeWords(frame, one, 0, one.text.length, (span, unit) => { item.spans[span.dataset.unit = unit] = span; });
    }
    const pointAt = (unit) => (lit && inputs.pointOf(input, unit, lit) >= 0 ? inputs.pointOf(input, unit, lit) : inputs.pointOf(input, unit));
    const lookAt = (unit) => on.over(unit >= 0 ? pointAt(unit) : -1);
    frame.addEventListener("pointermove", (event) => lookAt(unitUnder(event)));
    frame.addEventListener("pointerleave", () => on.over(-1));
    frame.addEventListener("click", (event) => on.pick(pointAt(unitUnder(event))));
    const move = (down, right) => {
      const by = one.grid ? down * one.grid[1] + right : down + right;
      const from = item.cursor >= 0 ? item.cursor : [...inputs.points[input].keys()][0] ?? 0;
      lookAt(item.cursor < 0 ? from : clamp(from + by, 0, units - 1));
      item.cursor = item.cursor < 0 ? from : clamp(from + by, 0, units - 1);
      draw();
    };
    onKeys(frame, { ...arrows(move), Enter: () => on.pick(pointAt(item.cursor)) });
    frame.addEventListener("blur", () => {
      item.cursor = -1;
      on.over(-1);
    });
    element("figcaption", "", figure, lit ? `${count} in ${one.name}` : one.name);
    items.push(item);
  }

  function build() {
    const counts = new Map();
    for (let i = 0; i < inputs.n; i++) {
      const input = inputs.source[2 * i];
      if (!lit || lit[i]) counts.set(input, (counts.get(input) || 0) + 1);
    }
    const concerned = [...counts];
    if (lit) concerned.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    items = [];
    box.replaceChildren();
    concerned.slice(0, most).forEach(([input, count]) => makeItem(input, count));
    moreButton.hidden = concerned.length <= most;
    const what = inputs.photos ? "image" : "text";
    const several = inputs.points.some((units) => [...units.values()].some((of) => of.length > 1)); // layers, or tokens of a word
    say(heading, `${lit ? "In" : "All"} ${concerned.length} ${what}${concerned.length === 1 ? "" : "s"}`
      + `${concerned.length > most ? `, ${most} of them shown` : ""}: ${lit ? "where the selected points come from" : `every ${inputs.photos ? "patch" : "word"} in ${several ? "the colour of its first point" : "its point's colour"}`}`);
    draw();
  }

  return {
    draw,
    // Mark the unit of a point, or none.
    mark: (i) => {
      for (const item of items) {
        const cursor = i >= 0 && item.input === inputs.source[2 * i] ? inputs.units[i] : -1;
        if (cursor === item.cursor) continue;
        item.cursor = cursor;
        drawItem(item);
      }
    },
    show: (now) => {
      lit = now;
      most = MOST_INPUTS;
      build();
    },
  };
}
