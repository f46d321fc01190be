// The cut through the tree, as Python makes it: clusters, their maps, the pixels, and codes of masks.

// What the tree is: leaves (row of maps of each), heights (largest distance in each node), children.
function makeTree(model) {
  const tokens = model.get("tokens");
  const constant = new Set(model.get("constant"));
  const leaves = tokens.map((_, row) => row).filter((row) => !constant.has(tokens[row]));
  const links = new Float64Array(bytes(model, "linkage").buffer);
  const count = links.length / 4;
  const n = leaves.length;
  const children = [];
  const heights = [];
  for (let i = 0; i < count; i++) {
    const pair = [links[4 * i], links[4 * i + 1]];
    children.push(pair);
    heights.push(Math.max(links[4 * i + 2], ...pair.map((node) => (node < n ? 0 : heights[node - n]))));
  }
  return { tokens, leaves, n, children, heights, top: Math.max(0, ...heights) };
}

// Cluster of every row of the maps, numbered by first token; rows without contrast come last.
function cutTree(tree, threshold, merges) {
  const parent = Array.from({ length: tree.n + tree.children.length }, (_, i) => i);
  const find = (i) => {
    while (parent[i] !== i) i = parent[i];
    return i;
  };
  tree.children.forEach(([a, b], i) => {
    if (tree.heights[i] <= threshold) parent[find(a)] = parent[find(b)] = tree.n + i;
  });
  const leafOf = new Map(tree.leaves.map((row, leaf) => [tree.tokens[row], leaf]));
  for (const [a, b] of merges) {
    if (leafOf.has(a) && leafOf.has(b)) parent[find(leafOf.get(a))] = find(leafOf.get(b));
  }
  const order = tree.leaves.map((_, leaf) => leaf).sort((a, b) => tree.tokens[tree.leaves[a]] - tree.tokens[tree.leaves[b]]);
  const numbers = new Map();
  for (const leaf of order) if (!numbers.has(find(leaf))) numbers.set(find(leaf), numbers.size);
  const clusters = new Array(tree.tokens.length).fill(numbers.size);
  tree.leaves.forEach((row, leaf) => { clusters[row] = numbers.get(find(leaf)); });
  return { clusters, count: Math.max(numbers.size, 1) };
}

// Sums of the maps of each cluster, and the same scaled to [0, 1]; a sum without contrast becomes 0.
function sumMaps(maps, cells, { clusters, count }) {
  const sums = Array.from({ length: count }, () => new Float64Array(cells));
  clusters.forEach((k, row) => {
    if (k >= count) return;
    for (let i = 0; i < cells; i++) sums[k][i] += maps[row * cells + i];
  });
  const scaled = sums.map((sum) => {
    const low = sum.reduce((a, b) => Math.min(a, b));
    const high = sum.reduce((a, b) => Math.max(a, b));
    const varies = high - low > 1e-6 * Math.max(Math.abs(low), Math.abs(high));
    return Float32Array.from(sum, (x) => (varies ? (x - low) / (high - low) : 0));
  });
  return { sums, scaled };
}

// Index of the largest of the scaled maps at every pixel of (height, width); ties go to the lower one.
function labelPixels(scaled, [h, w], height, width) {
  const up = bicubicTaps(h, height);
  const across = bicubicTaps(w, width);
  const labels = new Int32Array(height * width);
  const best = new Float32Array(height * width);
  const line = new Float32Array(w);
  scaled.forEach((map, k) => {
    for (let y = 0; y < height; y++) {
      const [rows, weights] = up[y];
      for (let x = 0; x < w; x++) {
        line[x] = weights[0] * map[rows[0] * w + x] + weights[1] * map[rows[1] * w + x]
          + weights[2] * map[rows[2] * w + x] + weights[3] * map[rows[3] * w + x];
      }
      for (let x = 0; x < width; x++) {
        const [columns, c] = across[x];
        const here = Math.fround(c[0] * line[columns[0]] + c[1] * line[columns[1]] + c[2] * line[columns[2]] + c[3] * line[columns[3]]);
        const i = y * width + x;
        if (k === 0) best[i] = Math.max(here, 0);
        else if (here > best[i]) {
          best[i] = here;
          labels[i] = k;
        }
      }
    }
  });
  return labels;
}

// COCO's run lengths of the pixels with one label, column by column, beginning with those without.
function runLengths(labels, k, height, width) {
  const counts = [];
  let inside = false;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if ((labels[y * width + x] === k) !== inside) {
        counts.push(run);
        run = 0;
        inside = !inside;
      }
      run++;
    }
  }
  counts.push(run);
  return { size: [height, width], counts };
}

// The innermost pixel of every label: where its number stands.
function innermost(labels, count, height, width) {
  const depth = new Int32Array(labels.length);
  const at = (y, x, k) => (y < 0 || x < 0 || y >= height || x >= width || labels[y * width + x] !== k ? 0 : depth[y * width + x]);
  const found = new Array(count).fill(-1);
  for (const back of [false, true]) {
    for (let j = 0; j < labels.length; j++) {
      const i = back ? labels.length - 1 - j : j;
      const y = Math.floor(i / width);
      const x = i % width;
      const k = labels[i];
      const d = back ? 1 : -1;
      const reach = 1 + Math.min(at(y + d, x, k), at(y, x + d, k));
      depth[i] = back ? Math.min(depth[i], reach) : reach;
      if (back && (found[k] < 0 || depth[i] > depth[found[k]])) found[k] = i;
    }
  }
  return found;
}

function maskShare({ size, counts }) {
  return counts.reduce((sum, run, i) => sum + (i % 2 ? run : 0), 0) / (size[0] * size[1]);
}
