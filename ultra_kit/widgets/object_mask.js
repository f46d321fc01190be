// From what is picked to the relevance of every pixel, and to a mask.
// The steps are those of ultra_kit.images.select, in the same order.

function rowsToOne(p, n) {
  for (let i = 0; i < n; i++) {
    let total = 0;
    for (let j = 0; j < n; j++) total += p[i * n + j];
    if (total > 0) for (let j = 0; j < n; j++) p[i * n + j] /= total;
  }
  return p;
}

function linksOf(levels, n) {
  const p = rowsToOne(Float64Array.from(levels, (q) => (q / 255) ** 2), n);
  const both = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) both[i * n + j] = (p[i * n + j] + p[j * n + i]) / 2;
  return rowsToOne(both, n);
}

function walk(links, n, wanted, unwanted, survival) {
  const ends = new Map();
  for (const t of unwanted) ends.set(t, 0);
  for (const t of wanted) ends.set(t, 1);
  const x = new Float64Array(n);
  ends.forEach((value, t) => { x[t] = value; });
  const step = (i) => {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += links[i * n + j] * x[j];
    return survival * sum;
  };
  for (let round = 0, moved = 1; round < 400 && moved > 1e-10; round++) {
    moved = 0;
    for (let i = 0; i < n; i++) {
      if (ends.has(i)) continue;
      const next = step(i);
      moved = Math.max(moved, Math.abs(next - x[i]));
      x[i] = next;
    }
  }
  const held = [...ends.keys()].filter((t) => ends.get(t) === 1);
  let others = 0;
  for (let i = 0; i < n; i++) if (!held.includes(i)) others = Math.max(others, x[i]);
  const back = held.map((t) => Math.max(step(t), others));
  held.forEach((t, k) => { x[t] = back[k]; });
  return x;
}

function resize(values, [h, w], [H, W]) {
  const down = bicubicTaps(h, H);
  const across = bicubicTaps(w, W);
  const out = new Float64Array(H * W);
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    const [rows, a] = down[y];
    const [columns, b] = across[x];
    let sum = 0;
    for (let i = 0; i < 4; i++) for (let j = 0; j < 4; j++) sum += a[i] * b[j] * values[rows[i] * w + columns[j]];
    out[y * W + x] = Math.max(sum, 0);
  }
  return out;
}

// Half-way between the means of Otsu's two classes, found on 256 bins.
function otsu(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!(high - low > 1e-9 * high)) return high;
  const counts = new Float64Array(256);
  for (const v of values) counts[Math.min(255, Math.floor(((v - low) / (high - low)) * 256))] += 1;
  const middle = (k) => low + ((k + 0.5) * (high - low)) / 256;
  let weight = 0, sum = 0, total = 0, best = -1, at = 0;
  counts.forEach((c, k) => { total += c * middle(k); });
  for (let k = 0; k < 255; k++) {
    weight += counts[k];
    sum += counts[k] * middle(k);
    const rest = values.length - weight;
    const apart = weight && rest ? weight * rest * (sum / weight - (total - sum) / rest) ** 2 : 0;
    if (apart > best * (1 + 1e-12)) [best, at] = [apart, k];
  }
  const above = [], below = [];
  for (const v of values) (v > middle(at) ? above : below).push(v);
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  return above.length ? (mean(above) + mean(below)) / 2 : high;
}

function oddsOf(values) {
  const half = otsu(values);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), 0);
  if (!(high > low + 1e-9 * high)) return values.map((v) => (v > 0 ? 1 : 0));  // no two classes
  return values.map((v) => (v > 0 ? v / (v + half) : 0));
}

// Weights of the links of every pixel to the one on its right and the one below.
function edgesOf(looks, [H, W], { beta, slack }) {
  const right = new Float64Array(H * W), below = new Float64Array(H * W);
  const weight = (i, j) => {
    let apart = 0;
    for (let c = 0; c < 4; c++) apart += ((looks[4 * i + c] - looks[4 * j + c]) / 255) ** 2;
    return Math.exp(-beta * apart) + slack;
  };
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    const i = y * W + x;
    if (x + 1 < W) right[i] = weight(i, i + 1);
    if (y + 1 < H) below[i] = weight(i, i + W);
  }
  return { right, below };
}

// Conjugate gradients on (Laplacian + pull) x = pull * value, from x = value.
function smooth({ right, below }, [H, W], value, pull) {
  const n = H * W;
  const diagonal = Float64Array.from(pull);
  for (let i = 0; i < n; i++) {
    diagonal[i] += right[i] + below[i];
    if (i % W) diagonal[i] += right[i - 1];
    if (i >= W) diagonal[i] += below[i - W];
  }
  const times = (x, out) => {
    for (let i = 0; i < n; i++) {
      let sum = diagonal[i] * x[i];
      if (right[i]) sum -= right[i] * x[i + 1];
      if (below[i]) sum -= below[i] * x[i + W];
      if (i % W) sum -= right[i - 1] * x[i - 1];
      if (i >= W) sum -= below[i - W] * x[i - W];
      out[i] = sum;
    }
  };
  const dot = (a, b) => { let s = 0; for (let i = 0; i < n; i++) s += a[i] * b[i]; return s; };
  const x = Float64Array.from(value), b = value.map((v, i) => v * pull[i]);
  const q = new Float64Array(n), z = new Float64Array(n);
  times(x, q);
  const r = b.map((v, i) => v - q[i]);
  const enough = 1e-5 * Math.sqrt(dot(b, b));
  let p = null, before = 0;
  for (let round = 0; round < 500 && Math.sqrt(dot(r, r)) > enough; round++) {
    for (let i = 0; i < n; i++) z[i] = r[i] / diagonal[i];
    const now = dot(r, z);
    p = p ? p.map((v, i) => z[i] + (now / before) * v) : Float64Array.from(z);
    before = now;
    times(p, q);
    const step = now / dot(p, q);
    for (let i = 0; i < n; i++) { x[i] += step * p[i]; r[i] -= step * q[i]; }
  }
  return x.map((v) => clamp(v, 0, 1));
}

function connectedPart(mask, [H, W], points) {
  const kept = new Uint8Array(H * W);
  const open = points.map(([x, y]) => Math.floor(y) * W + Math.floor(x)).filter((i) => mask[i]);
  if (!open.length) return mask;
  while (open.length) {
    const i = open.pop();
    if (kept[i]) continue;
    kept[i] = 1;
    const x = i % W;
    if (x > 0 && mask[i - 1]) open.push(i - 1);
    if (x + 1 < W && mask[i + 1]) open.push(i + 1);
    if (i >= W && mask[i - W]) open.push(i - W);
    if (i + W < H * W && mask[i + W]) open.push(i + W);
  }
  return kept;
}

// From the picks to relevance, and from relevance to a mask.
function makeEngine(model) {
  const [grid, size, working, numbers] = ["grid", "size", "working", "numbers"].map((key) => model.get(key));
  const [h, w] = grid;
  const n = h * w;
  const links = linksOf(bytes(model, "levels"), n);
  const edges = edgesOf(bytes(model, "looks"), working, numbers);
  const scale = [working[1] / size[1], working[0] / size[0]];
  const small = ([x, y]) => [x * scale[0], y * scale[1]];
  const patchAt = ([x, y]) => Math.floor((y * h) / size[0]) * w + Math.floor((x * w) / size[1]);
  const middle = (t) => [((t % w) + 0.5) * size[1] / w, (Math.floor(t / w) + 0.5) * size[0] / h];
  const within = ([x, y], b) => x >= b[0] && x < b[2] && y >= b[1] && y < b[3];

  function staying(inside) {
    const places = [...inside];
    const share = places.map((t) => places.reduce((sum, j) => sum + links[t * n + j], 0));
    const cut = otsu(share);
    const kept = places.filter((_, k) => share[k] > cut);
    return kept.length ? kept : places;
  }

  // A further token counts only where the selection so far does not reach; else its point corrects an outline.
  function newParts(tokens, out) {
    const found = new Set(tokens.slice(0, 1));
    for (const t of tokens.slice(1)) {
      const reached = oddsOf(walk(links, n, found, out, numbers.survival));
      const near = (j) => Math.abs((j % w) - (t % w)) <= 1 && Math.abs(Math.floor(j / w) - Math.floor(t / w)) <= 1;
      if (!reached.some((value, j) => near(j) && value >= 0.5)) found.add(t);
    }
    return found;
  }

  function relevance({ wanted, unwanted, box, place }) {
    const named = place >= 0 ? [place] : [];
    const out = new Set(unwanted.map(patchAt));
    const picked = newParts([...named, ...wanted.map(patchAt)], out);
    if (box.length) {
      const inside = new Set(Array.from({ length: n }, (_, t) => t).filter((t) => within(middle(t), box)));
      inside.add(patchAt([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]));
      if (!picked.size) staying(inside).forEach((t) => picked.add(t));
      for (let t = 0; t < n; t++) if (!inside.has(t)) out.add(t);
    }
    const full = resize(walk(links, n, picked, out, numbers.survival), grid, working);
    const value = oddsOf(full);
    const pull = new Float64Array(value.length).fill(numbers.gamma);
    const ruledOut = new Uint8Array(value.length);
    const [H, W] = working;
    const each = (points, act) => points.map(small).forEach(([u, v]) => {
      for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
        if ((x - Math.floor(u)) ** 2 + (y - Math.floor(v)) ** 2 <= numbers.radius ** 2) act(y * W + x);
      }
    });
    each([...named.map(middle), ...wanted], (i) => { value[i] = 1; pull[i] = 1; });
    each(unwanted, (i) => { ruledOut[i] = 1; });
    ruledOut.forEach((on, i) => { if (on) { value[i] = 0; pull[i] = 1; } });
    const outside = (i) => box.length && !within([((i % W) + 0.5) / scale[0], (Math.floor(i / W) + 0.5) / scale[1]], box);
    for (let i = 0; i < value.length; i++) if (pull[i] < 1 && outside(i)) value[i] = 0;
    const found = smooth(edges, working, value, pull);
    if (box.length) {  // what flowed out of it is missing: one half at Otsu's threshold again
      const left = [...found.keys()].filter((i) => !outside(i));
      oddsOf(left.map((i) => found[i])).forEach((v, k) => { found[left[k]] = v; });
    }
    ruledOut.forEach((on, i) => { if (on || outside(i)) found[i] = 0; });
    return { values: found, anchors: (wanted.length ? wanted : [...picked].map(middle)).map(small) };
  }
  return { relevance, cut: (found, threshold) =>
    connectedPart(Uint8Array.from(found.values, (v) => (v > threshold ? 1 : 0)), working, found.anchors) };
}
