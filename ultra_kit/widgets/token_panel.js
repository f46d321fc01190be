// What a TokenExplorer shows of one side: the rows of its maps, and the two pictures they are drawn on.

// The maps of all sides by [side, kind, layer, since]; a token's are its levels, the largest of each variant, and its
// prefix values.
function makeLibrary(model) {
  const parts = [["levels", Uint8Array], ["largest", Float32Array], ["prefix_values", Float32Array]];
  const shelf = makeShelf(model, parts, (book) => [book.side, book.kind, book.layer, book.since]);
  const sides = model.get("sides");
  const tops = (key) => [...shelf.about(key).rows.values()].map(([, largest]) => largest[0]);
  const makes = (kind, s) => model.get("has_kernel") && sides[s].makes.includes(kind);
  // The layers since which there are maps, or can be made, in order.
  function sinces(kind, layer) {
    if (sides.some((_, s) => makes(kind, s))) return Array.from({ length: layer }, (_, j) => j);
    const found = shelf.books().filter((book) => book.kind === kind && book.layer === layer).map((book) => book.since);
    return [...new Set(found)].sort((a, b) => a - b);
  }
  // A token's map, or in its stead that over the last block alone.
  function nearest([s, kind, layer, since], token) {
    const row = shelf.find([s, kind, layer, since], token);
    return row ? { row, since } : { row: shelf.find([s, kind, layer, layer - 1], token), since: layer - 1 };
  }
  return { ...shelf, makes, sinces, nearest,
    top: (kind, layer, since) => Math.max(0, ...sides.flatMap((_, s) => tops([s, kind, layer, since]))) };
}

// In words: since which layer, of a map of a layer above the first.
function sinceText(layer, since) {
  if (layer < 2 || since === 0) return "";
  return since === layer - 1 ? ", last block alone" : `, since layer ${since}`;
}

// Which of a map's variants a head stands for: 0 all, h a head, -1 past the heads.
function variantOf(count, head) {
  if (head === 0 || count === 1) return 0;
  return head === -1 ? count - 1 : Math.min(head, count - 2);
}

// The two pictures of one side, and what draws on them.
function makePanel(stage, model, s, handlers) {
  const side = model.get("sides")[s];
  const [h, w] = side.grid;
  const aspect = side.size[1] / side.size[0];
  const lut = bytes(model, "lut");
  const data = model.get(`image${s}`);
  const address = data ? pictureAddress(bytes(model, `image${s}`)) : "";
  const { panel: left } = makeFigure(stage, side.name);
  const picture = pictureBox(left, address, aspect, `The input: ${side.name}`);
  const image = picture.querySelector("img");
  pointAtIt(picture, "Patches of the input; arrow keys move from patch to patch");
  const kept = element("div", "uk-marker uk-kept", picture);
  const marker = element("div", "uk-marker", picture);
  const probe = element("div", "uk-marker uk-probe", picture);
  probe.hidden = true;
  const chips = element("div", "uk-chips", left);
  const { panel: right, heading } = makeFigure(stage);
  const shown = pictureBox(right, "", aspect, "");
  const canvas = element("canvas", "uk-map", shown);
  Object.assign(canvas, { width: w, height: h });
  const under = greyTexture(shown, "uk-under", address, 255, 0.35);
  const keptThere = element("div", "uk-marker uk-kept", shown);
  const own = element("div", "uk-marker uk-own", shown);
  if (address) own.style.backgroundImage = `url("${address}")`;
  own.style.backgroundSize = `${100 * w}% ${100 * h}%`;
  const missing = element("p", "uk-missing", shown);
  const foot = element("div", "uk-foot", right);
  const badge = element("p", "uk-badge", foot);
  const bar = legend(foot, lut, "");
  const reading = element("p", "uk-reading", foot, "Point at the map to read a value.");
  let drawn = null; // what the map shows: its cells, the value of level 255, and the token
  const tokenChips = Array.from({ length: side.n_prefix }, (_, i) => {
    const chip = element("button", "uk-chip", chips, `prefix ${i}`);
    chip.type = "button";
    chip.addEventListener("pointermove", () => handlers.over(s, i));
    chip.addEventListener("click", () => handlers.pin(s, i));
    return chip;
  });
  const tokenAt = (event) => {
    const cell = cellAt(event, picture, h, w);
    return cell < 0 ? -1 : cell + side.n_prefix;
  };
  picture.addEventListener("pointermove", (event) => handlers.over(s, tokenAt(event)));
  picture.addEventListener("pointerleave", handlers.leave);
  chips.addEventListener("pointerleave", handlers.leave);
  picture.addEventListener("click", (event) => handlers.pin(s, tokenAt(event)));
  const readAt = (event) => read(event ? cellAt(event, shown, h, w) : -1);
  shown.addEventListener("pointermove", readAt);
  shown.addEventListener("pointerdown", readAt); // a finger does not hover
  shown.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && readAt(null));

  // The value of the map in a cell, in words, with the cell marked in the input.
  function read(cell) {
    probe.hidden = cell < 0 || !drawn;
    if (probe.hidden) {
      say(reading, "Point at the map to read a value.");
      return;
    }
    placeOver(probe, cell, h, w);
    const place = `Row ${Math.floor(cell / w)}, column ${cell % w}`;
    const value = (drawn.cells[cell] / 255) * drawn.largest;
    const share = drawn.largest > 0 ? ` = ${Math.round((100 * drawn.cells[cell]) / 255)}% of the largest` : "";
    say(reading, cell === drawn.token - side.n_prefix ? `${place}: the token's own place, left out`
      : `${place}: ${value.toPrecision(3)}${share}`);
  }

  function mark(token, held) {
    const cell = token - side.n_prefix;
    marker.hidden = own.hidden = cell < 0;
    kept.hidden = keptThere.hidden = held === token || held < side.n_prefix;
    if (!kept.hidden) [kept, keptThere].forEach((node) => placeOver(node, held - side.n_prefix, h, w));
    if (cell < 0) return;
    placeOver(marker, cell, h, w);
    placeOver(own, cell, h, w);
    own.style.backgroundPosition = `${(100 * (cell % w)) / Math.max(w - 1, 1)}% ${
      (100 * Math.floor(cell / w)) / Math.max(h - 1, 1)}%`;
  }

  // Draw a token's row, or say that it is not there; returns what a caption says of it.
  function draw(token, row, { head, scale, prefix, shared, title, lacking, instead, held }) {
    mark(token, held);
    say(heading, title);
    say(missing, row ? "" : lacking);
    say(badge, row ? instead : "");
    chips.hidden = !prefix;
    under.style.visibility = row ? "" : "hidden";
    drawn = null;
    if (!row) {
      paintLevels(canvas, new Uint8Array(h * w), lut);
      return `${placeName(side, token)}: ${lacking}`;
    }
    const [rowLevels, rowLargest, prefixValues] = row;
    const v = variantOf(rowLargest.length, head);
    const largest = rowLargest[v];
    const top = scale === "shared" ? shared : largest;
    const cells = rowLevels.subarray(v * h * w, (v + 1) * h * w);
    const factor = top > 0 ? largest / top : 0;
    const levels = factor === 1 ? cells : Uint8Array.from(cells, (q) => Math.min(255, Math.round(q * factor)));
    paintLevels(canvas, levels, lut);
    drawn = { cells, largest, token };
    bar.set(top, scale === "shared" ? "relevance (no unit), one scale for the layer" : "relevance (no unit), this map's own scale");
    tokenChips.forEach((chip, i) => {
      const level = top > 0 ? Math.min(255, Math.round((255 * prefixValues[i]) / top)) : 0;
      chip.style.background = `rgb(${lut[3 * level]}, ${lut[3 * level + 1]}, ${lut[3 * level + 2]})`;
      chip.style.color = level > 140 ? "#000" : "#fff";
      chip.title = `relevance ${prefixValues[i].toPrecision(3)}`;
      chip.classList.toggle("uk-chosen", token === i);
    });
    const sum = cells.reduce((a, b) => a + b, 0) * largest / 255;
    const aside = prefixValues.reduce((a, b) => a + b, 0);
    const share = v === 0 && aside + sum > 0 ? ` ${Math.round((100 * aside) / (aside + sum))}% of it lies on prefix tokens.` : "";
    return `${placeName(side, token)}: largest relevance ${largest.toPrecision(3)}.${side.n_prefix ? share : ""}${instead && ` ${instead}.`}`;
  }

  // Both pictures on a drawing, from x and y, each `width` wide.
  function copyTo(made, x, y, width) {
    const height = width / aspect;
    const flat = element("canvas", "");
    Object.assign(flat, { width: 480, height: Math.round(480 / aspect) });
    const context = flat.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, 0, 0, flat.width, flat.height);
    if (!under.hidden && under.style.display !== "none") {
      context.drawImage(under, 0, 0, flat.width, flat.height);
    }
    if (!own.hidden && address) {
      const cell = [own.style.left, own.style.top].map((text) => parseFloat(text) / 100);
      const [fromWidth, fromHeight] = [image.naturalWidth, image.naturalHeight];
      context.drawImage(image, cell[0] * fromWidth, cell[1] * fromHeight, fromWidth / w, fromHeight / h,
        cell[0] * flat.width, cell[1] * flat.height, flat.width / w, flat.height / h);
    }
    const frame = { y, width, height, preserveAspectRatio: "none", style: "image-rendering:pixelated" };
    if (address) made.node("image", { ...frame, href: pictureData(image), x });
    made.node("image", { ...frame, href: flat.toDataURL("image/png"), x: x + width + 20 });
    if (!marker.hidden) {
      const box = { width: width / w, height: height / h, fill: "none", "stroke-width": 2.5, stroke: "#fff" };
      const at = [parseFloat(marker.style.left) / 100 * width, parseFloat(marker.style.top) / 100 * height];
      for (const shift of [0, width + 20]) {
        made.node("rect", { ...box, x: x + shift + at[0], y: y + at[1], stroke: "#000", "stroke-width": 5 });
        made.node("rect", { ...box, x: x + shift + at[0], y: y + at[1] });
      }
    }
    const ramp = { href: pictureData(bar.bar), x: x + width + 20, y: y + height + 8, width, height: 12 };
    made.node("image", { ...ramp, preserveAspectRatio: "none" });
    const text = { x: x + width + 20, y: y + height + 38, "font-size": 15 };
    made.node("text", text, `0 to ${right.querySelector(".uk-end").textContent}, ${right.querySelector(".uk-unit").textContent}`);
    made.node("text", { x, y: y - 8, "font-size": 16, "font-weight": 600 }, side.name.slice(0, 40));
    made.node("text", { x: x + width + 20, y: y - 8, "font-size": 16, "font-weight": 600 }, heading.textContent.slice(0, 45));
  }

  return { side, draw, copyTo, aspect, under, address, picture };
}

function placeName(side, token) {
  if (token < side.n_prefix) return `Prefix token ${token}`;
  const cell = token - side.n_prefix;
  const w = side.grid[1];
  return `Patch in row ${Math.floor(cell / w)}, column ${cell % w}, token ${token}`;
}

// The token of another side at the same place.
function counterpart(from, to, token) {
  if (from === to || token < from.n_prefix) return Math.min(token, to.n_prefix + to.grid[0] * to.grid[1] - 1);
  const cell = token - from.n_prefix;
  const row = Math.floor(((Math.floor(cell / from.grid[1]) + 0.5) / from.grid[0]) * to.grid[0]);
  const column = Math.floor((((cell % from.grid[1]) + 0.5) / from.grid[1]) * to.grid[1]);
  return to.n_prefix + row * to.grid[1] + column;
}
