// What a SegmentExplorer draws: coloured segments, their borders and numbers, and the tree.

function paintLabels(canvas, now, palette) {
  Object.assign(canvas, { width: now.width, height: now.height });
  const colours = palette.map((hex) => [...rgbOf(hex), 255]);
  paint(canvas, (i) => colours[now.labels[i] % colours.length]);
}

// Borders and numbers, the rest dimmed where one segment is looked at, a dot on each of its tokens.
function drawLines(canvas, now, { focus, chosen, grid, nPrefix }) {
  const scale = 720 / now.width;
  Object.assign(canvas, { width: 720, height: Math.round(now.height * scale) });
  const pen = canvas.getContext("2d");
  const { labels, width, height } = now;
  if (focus >= 0) dimOthers(pen, now, focus, canvas);
  pen.beginPath();
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const k = labels[y * width + x];
      if (x + 1 < width && labels[y * width + x + 1] !== k) {
        pen.moveTo((x + 1) * scale, y * scale);
        pen.lineTo((x + 1) * scale, (y + 1) * scale);
      }
      if (y + 1 < height && labels[(y + 1) * width + x] !== k) {
        pen.moveTo(x * scale, (y + 1) * scale);
        pen.lineTo((x + 1) * scale, (y + 1) * scale);
      }
    }
  }
  Object.assign(pen, { strokeStyle: "#000", lineWidth: now.places.length > 40 ? 2 : 4, lineCap: "square" });
  pen.stroke();
  if (focus >= 0) drawDots(pen, now.members[focus], grid, nPrefix, canvas);
  Object.assign(pen, { font: "600 30px system-ui, sans-serif", textAlign: "center", textBaseline: "middle" });
  // Marked ones and large ones first; a number that would lie on another is left to the list and the pointer, as are those of tiny ones.
  const first = (k) => (k === focus ? 3 : chosen.has(k) ? 2 : now.shares[k]);
  const drawn = [];
  [...now.places.keys()].sort((a, b) => first(b) - first(a) || a - b).forEach((k) => {
    const place = now.places[k];
    if (place < 0 || (now.shares[k] < 0.008 && first(k) < 2)) return;
    const half = Math.max(20, pen.measureText(String(k)).width / 2 + 5);
    const x = clamp(((place % width) + 0.5) * scale, half + 2, canvas.width - half - 2);
    const y = clamp((Math.floor(place / width) + 0.5) * scale, 20, canvas.height - 20);
    if (first(k) < 2 && drawn.some((d) => Math.abs(d.x - x) < d.half + half && Math.abs(d.y - y) < 36)) return;
    drawn.push({ x, y, half });
    const marked = chosen.has(k);
    Object.assign(pen, { fillStyle: marked ? "#000" : "#fff", strokeStyle: "#000", lineWidth: 2 });
    pen.fillRect(x - half, y - 18, 2 * half, 36);
    pen.strokeRect(x - half, y - 18, 2 * half, 36);
    pen.fillStyle = marked ? "#fff" : "#000";
    pen.fillText(String(k), x, y + 1);
  });
}

function dimOthers(pen, now, focus, canvas) {
  const veil = element("canvas", "");
  Object.assign(veil, { width: now.width, height: now.height });
  paint(veil, (i) => [255, 255, 255, now.labels[i] === focus ? 0 : 160]);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(veil, 0, 0, canvas.width, canvas.height);
}

function drawDots(pen, tokens, [h, w], nPrefix, canvas) {
  for (const token of tokens) {
    const cell = token - nPrefix;
    const x = (((cell % w) + 0.5) / w) * canvas.width;
    const y = ((Math.floor(cell / w) + 0.5) / h) * canvas.height;
    pen.beginPath();
    pen.arc(x, y, 6, 0, 2 * Math.PI);
    Object.assign(pen, { fillStyle: "#fff", strokeStyle: "#000", lineWidth: 3 });
    pen.stroke();
    pen.fill();
  }
}

const EDGE = { left: 84, right: 12, top: 14, bottom: 12 };

// The tree with the cut: x the leaves as the tree orders them, y the distance.
function drawTree(canvas, tree, now, threshold, limit, palette) {
  const { width, height } = canvas;
  const pen = canvas.getContext("2d");
  const ink = getComputedStyle(canvas).color; // of the theme
  const y = (d) => height - EDGE.bottom - ((height - EDGE.top - EDGE.bottom) * d) / limit;
  pen.clearRect(0, 0, width, height);
  const order = [];
  const stack = tree.children.length ? [tree.n + tree.children.length - 1] : [];
  while (stack.length) {
    const node = stack.pop();
    if (node < tree.n) order.push(node);
    else stack.push(tree.children[node - tree.n][1], tree.children[node - tree.n][0]);
  }
  const spots = [];
  const owners = [];
  order.forEach((leaf, i) => {
    spots[leaf] = [EDGE.left + ((width - EDGE.left - EDGE.right) * (i + 0.5)) / order.length, y(0)];
    owners[leaf] = now.clusters[tree.leaves[leaf]];
  });
  pen.lineWidth = tree.n > 300 ? 1.5 : 2.5;
  tree.children.forEach(([a, b], i) => {
    const level = y(tree.heights[i]);
    spots[tree.n + i] = [(spots[a][0] + spots[b][0]) / 2, level];
    owners[tree.n + i] = owners[a] === owners[b] ? owners[a] : -1;
    const owner = owners[tree.n + i];
    pen.strokeStyle = owner < 0 ? "#77777f" : palette[owner % palette.length];
    pen.beginPath();
    pen.moveTo(...spots[a]);
    pen.lineTo(spots[a][0], level);
    pen.lineTo(spots[b][0], level);
    pen.lineTo(...spots[b]);
    pen.stroke();
  });
  Object.assign(pen, { fillStyle: ink, font: "22px system-ui, sans-serif", textAlign: "right", textBaseline: "middle" });
  pen.fillText("0", EDGE.left - 10, y(0) - 8);
  pen.fillText(limit.toPrecision(2), EDGE.left - 10, y(limit) + 8);
  Object.assign(pen, { strokeStyle: ink, lineWidth: 4 });
  pen.setLineDash([14, 8]);
  pen.beginPath();
  pen.moveTo(EDGE.left, y(threshold));
  pen.lineTo(width - EDGE.right, y(threshold));
  pen.stroke();
  pen.setLineDash([]);
}

// The tree's canvas; dragging in it moves the cut. `redraw` is called where the page gives it another width.
function makeTreeBox(parent, distance, limit, move, redraw) {
  element("p", "uk-subtitle", parent, `Tree of the maps: drag the dashed cut. Upwards: ${distance} between maps.`);
  const canvas = element("canvas", "uk-tree", parent);
  Object.assign(canvas, { width: 1200, height: 300 });
  // Half the pixels where there is little room, so that lines and numbers keep their size.
  const sizes = new ResizeObserver(() => {
    const width = canvas.clientWidth < 550 ? 600 : 1200;
    if (canvas.clientWidth === 0 || width === canvas.width) return;
    canvas.width = width;
    redraw();
  });
  sizes.observe(canvas);
  let dragging = false;
  const at = (event, last) => {
    const box = canvas.getBoundingClientRect();
    const y = ((event.clientY - box.top) / box.height) * canvas.height;
    const share = (canvas.height - EDGE.bottom - y) / (canvas.height - EDGE.top - EDGE.bottom);
    move(limit * clamp(share, 0, 1), last);
  };
  canvas.addEventListener("pointerdown", (event) => {
    dragging = true;
    canvas.setPointerCapture(event.pointerId);
    at(event, false);
  });
  canvas.addEventListener("pointermove", (event) => { if (dragging) at(event, false); });
  canvas.addEventListener("pointerup", (event) => {
    if (dragging) at(event, true);
    dragging = false;
  });
  return { canvas, stop: () => sizes.disconnect() };
}

// The segments with their names as a drawing.
function segmentDrawing(now, { canvas, lines, texture, palette, aspect }) {
  const flat = element("canvas", "");
  Object.assign(flat, { width: lines.width, height: lines.height });
  const pen = flat.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(canvas, 0, 0, flat.width, flat.height);
  if (!texture.hidden) pen.drawImage(texture, 0, 0, flat.width, flat.height);
  pen.drawImage(lines, 0, 0);
  const width = 480;
  const height = width / aspect;
  const rows = now.names.length;
  const made = drawing(width + 280, Math.max(height + 20, 24 * rows + 30));
  made.node("image", { href: flat.toDataURL("image/png"), x: 10, y: 10, width, height });
  now.names.forEach((name, k) => {
    const y = 30 + 24 * k;
    made.node("rect", { x: width + 25, y: y - 14, width: 18, height: 18, fill: palette[k % palette.length], stroke: "#000" });
    made.node("text", { x: width + 52, y, "font-size": 16 }, `${k}: ${name.slice(0, 18)}, ${(100 * now.shares[k]).toFixed(1)}%`);
  });
  return made;
}
