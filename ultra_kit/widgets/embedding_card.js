// The card of an EmbeddingExplorer: one point in large, and beside one another the points most alike in other inputs.

const LIKE_COLOURS = ["#56b4e9", "#e66100"]; // of the most alike in an atlas, and in the one beside it

// One point in large, and those most alike in other inputs by each atlas, each with its map; `pick(i)` is called for one of them.
function makeCard(parent, inputs, titles, lut, pick) {
  const card = element("div", "uk-emb-card", parent);
  const heading = element("p", "uk-subtitle", card);
  const canvas = element("canvas", "uk-emb-photo", card);
  const text = element("p", "uk-emb-text", card);
  const foot = element("div", "", card);
  const bar = legend(foot, lut, "share of the map's largest value");
  bar.set(1);
  const note = element("p", "uk-note", foot);
  const others = element("div", "uk-emb-others", card);
  const two = titles.length > 1;
  card.classList.toggle("uk-emb-two", two);
  const above = element("p", "uk-subtitle", others);
  const columns = titles.map(() => element("div", "uk-emb-column", others));
  // A point's patch in large, in the corner of its photograph that is furthest from it.
  function drawInset(canvas, i) {
    const [x, y] = inputs.cellOf(inputs.source[2 * i], inputs.units[i], canvas.width, canvas.height);
    const size = Math.round(0.36 * Math.min(canvas.width, canvas.height));
    const at = [2 * x < canvas.width ? canvas.width - size - 2 : 2, 2 * y < canvas.height ? canvas.height - size - 2 : 2];
    const pen = canvas.getContext("2d");
    inputs.drawPatch(pen, i, ...at, size);
    outlined(pen, [...at, size, size], "#fff", 2);
  }
  function showLike(column, j) {
    const one = button(column, "", () => pick(j), inputs.placeText(j));
    one.className = inputs.photos ? "uk-emb-like" : "uk-emb-like uk-emb-long";
    one.dataset.point = j;
    if (!inputs.about[inputs.source[2 * j]].grid) return writeMapped(one, inputs, j, 40, lut);
    const canvas = element("canvas", "uk-emb-photo", one);
    drawMapped(canvas, inputs, j, 240, lut);
    if (inputs.units[j] >= 0) drawInset(canvas, j);
  }
  function showAlike(i) {
    const found = i < 0 ? [] : inputs.alikeOf(i);
    say(above, found.flat().length ? `Most alike in other ${inputs.photos ? "images" : "texts"}` : "");
    columns.forEach((column, a) => {
      column.replaceChildren();
      if (two && above.textContent) element("p", "uk-subtitle", column, titles[a]).style.borderColor = LIKE_COLOURS[a];
      (found[a] || []).forEach((j) => showLike(column, j));
    });
  }
  return (i, about) => {
    card.classList.toggle("uk-emb-empty", i < 0);
    canvas.hidden = text.hidden = true;
    bar.bar.parentNode.hidden = i < 0 || !inputs.mapOf(i).length;
    say(heading, i < 0 ? "Point at one of the points" : inputs.placeText(i));
    say(note, i < 0 ? "Its patch or its word appears here, with the map of what it was made from." : about);
    showAlike(i);
    if (i < 0) return;
    const photo = Boolean(inputs.about[inputs.source[2 * i]].grid);
    (photo ? canvas : text).hidden = false;
    if (photo) drawMapped(canvas, inputs, i, 480, lut);
    else writeMapped(text, inputs, i, 160, lut);
    if (photo && two && inputs.units[i] >= 0) drawInset(canvas, i);
  };
}
