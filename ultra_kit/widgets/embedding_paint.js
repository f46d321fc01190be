// The colours of an EmbeddingExplorer's points: by class, along a ramp, or by the place in the picture; and their legend.

const mixed = (rgb, other, share) => rgb.map((v, i) => Math.round(v + (other[i] - v) * share));
const cssColour = (rgb) => `rgb(${rgb.join(", ")})`;
const packedColour = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;

// One way to colour: `values` (-1 for none), the `count` of each class, the largest first in `order`, and `rgb(value)`.
function makePaint(about, values, tables) {
  const count = new Int32Array(about.names.length);
  if (about.kind === "classes") for (const v of values) if (v >= 0) count[v]++;
  const order = about.names.map((_, k) => k).sort((a, b) => count[b] - count[a] || a - b);
  const table = tables[about.kind];
  const rgb = table ? (v) => [table[3 * v], table[3 * v + 1], table[3 * v + 2]] : (v) => about.colours[v];
  return { ...about, values, count, order, rgb };
}

// All ways by their key.
function makePaints(model) {
  const about = model.get("paints");
  const all = new Int16Array(owned(model.get("paint_values")));
  const n = all.length / about.length;
  const tables = { ramp: bytes(model, "ramp"), place: bytes(model, "places_lut") };
  return new Map(about.map((one, i) => [one.key, makePaint(one, all.subarray(i * n, (i + 1) * n), tables)]));
}

// What a point's colour means, in words.
function paintText(way, i) {
  const v = way.values[i];
  if (way.kind !== "classes") return "";
  return v < 0 ? way.none : way.names[v] === String(v) ? `${way.key} ${v}` : `${way.key} “${way.names[v]}”`;
}

// The legend of a way to colour; `over(k)` and `pick(k)` are called with a class, -1 for none.
function showLegend(box, way, { over, pick }) {
  box.replaceChildren();
  const swatch = (parent, rgb) => { element("i", "uk-emb-swatch", parent).style.background = rgb && cssColour(rgb); };
  if (way.kind === "classes") {
    for (const k of [...way.order, -1]) {
      const count = k < 0 ? way.values.reduce((sum, v) => sum + (v < 0), 0) : way.count[k];
      if (!count) continue;
      const row = button(box, "", () => pick(k), "Select these");
      row.className = "uk-emb-class";
      row.dataset.class = k;
      swatch(row, k < 0 ? null : way.rgb(k));
      element("span", "uk-emb-name", row, k < 0 ? way.none : way.names[k]);
      element("span", "uk-emb-count", row, count.toLocaleString("en"));
      for (const [event, value] of [["pointerenter", k], ["focus", k], ["pointerleave", null], ["blur", null]]) {
        row.addEventListener(event, () => over(value));
      }
    }
    return;
  }
  const place = way.kind === "place";
  const canvas = element("canvas", place ? "uk-emb-place" : "uk-bar", box);
  Object.assign(canvas, { width: place ? 16 : 256, height: place ? 16 : 1 });
  paint(canvas, (i) => [...way.rgb(i), 255]);
  element("span", "uk-unit", box, place ? "where in the picture" : way.scale);
}
