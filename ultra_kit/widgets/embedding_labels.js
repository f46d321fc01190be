// What lies on the points of an EmbeddingExplorer: names of classes with a patch of each, patches or words where one is close
// enough, the rings round the points looked at and kept, and the lasso.

const CLOSE = 220; // points in sight up to which each shows its patch or its word

// The point of a class that stands for it: that nearest to the middle of those nearest to its median.
function classMiddles(way, xs, ys) {
  if (way.kind !== "classes") return new Map();
  const members = new Map(way.order.map((k) => [k, []]));
  way.values.forEach((v, i) => { if (v >= 0) members.get(v).push(i); });
  const middle = (list) => Float64Array.from(list).sort()[list.length >> 1];
  return new Map([...members].filter(([, list]) => list.length).map(([k, list]) => {
    const [x, y] = [middle(list.map((i) => xs[i])), middle(list.map((i) => ys[i]))];
    const away = (i) => (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
    return [k, list.reduce((best, i) => (away(i) < away(best) ? i : best), list[0])];
  }));
}

function makeDecorator(inputs, way, looked) {
  const middles = new Map(); // of each way to colour
  const signs = {};
  let ratio = 1;

  function textOn(pen, text, x, y, paper, ink) {
    Object.assign(pen, { strokeStyle: paper, fillStyle: ink, lineWidth: 4 * ratio });
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  }
  // Whether a box is free; if so it is taken.
  function makeRoom() {
    const taken = [];
    return (x, y, w, h) => {
      if (taken.some((t) => x < t[0] + t[2] && t[0] < x + w && y < t[1] + t[3] && t[1] < y + h)) return false;
      taken.push([x, y, w, h]);
      return true;
    };
  }
  function closeUp(pen, plot, free, paper, ink) {
    const { sx, sy, width, height } = plot;
    const size = ratio * clamp(0.55 * Math.sqrt((width * height) / (ratio * ratio * Math.max(plot.shown, 1))), 22, 64);
    for (let i = 0; i < inputs.n; i++) {
      if (sx[i] < 0 || sy[i] < 0 || sx[i] >= width || sy[i] >= height) continue;
      if (inputs.photos && inputs.units[i] >= 0) {
        const at = [sx[i] - size / 2, sy[i] - size / 2];
        inputs.drawPatch(pen, i, ...at, size);
        const value = way().values[i];
        Object.assign(pen, { strokeStyle: value < 0 ? "#888" : cssColour(way().rgb(value)), lineWidth: 2.5 * ratio });
        pen.strokeRect(...at, size, size);
      } else if (!inputs.photos) {
        const word = inputs.wordOf(i).slice(0, 24);
        const wide = pen.measureText(word).width;
        if (free(sx[i] + 6 * ratio, sy[i] - 8 * ratio, wide, 16 * ratio)) textOn(pen, word, sx[i] + 8 * ratio, sy[i], paper, ink);
      }
    }
  }
  // Where the sign of a class stands beside its middle: of eight places round it that with the fewest points below. It is
  // kept until the zoom changes, so that signs do not jump while the plane is moved.
  function signPlace(plot, i, w, h) {
    const cell = 12 * ratio;
    if (signs.k !== plot.camera.k || signs.ratio !== ratio || signs.glides !== plot.glides) {
      Object.assign(signs, { k: plot.camera.k, ratio, glides: plot.glides, places: new Map(), taken: new Map() });
      for (let j = 0; j < inputs.n; j++) {
        const key = Math.floor((plot.xs[j] * signs.k) / cell) * 100003 + Math.floor((-plot.ys[j] * signs.k) / cell);
        signs.taken.set(key, (signs.taken.get(key) || 0) + 1);
      }
    }
    if (!signs.places.has(i)) {
      const [x, y] = [plot.xs[i] * signs.k, -plot.ys[i] * signs.k];
      let best = [Infinity];
      for (const [dx, dy] of [[0, -1], [1, -1], [-1, -1], [1, 0], [-1, 0], [0, 1], [1, 1], [-1, 1]]) {
        const [left, top] = [dx * (w / 2 + 16 * ratio) - w / 2, dy * (h / 2 + 16 * ratio) - h / 2];
        let below = 0;
        for (let u = Math.floor((x + left) / cell); u <= (x + left + w) / cell; u++) {
          for (let v = Math.floor((y + top) / cell); v <= (y + top + h) / cell; v++) below += signs.taken.get(u * 100003 + v) || 0;
        }
        if (below < best[0]) best = [below, left, top];
      }
      signs.places.set(i, best.slice(1));
    }
    return signs.places.get(i);
  }
  function nameClasses(pen, plot, free, paper, ink) {
    const key = `${plot.glides} ${way().key}`; // points that moved have other middles
    if (!middles.has(key)) middles.set(key, classMiddles(way(), plot.xs, plot.ys));
    const size = ratio * (plot.width < 500 * ratio ? 26 : 34);
    const { lit } = looked();
    let named = 0;
    for (const [k, i] of middles.get(key)) {
      const [x, y] = [plot.sx[i], plot.sy[i]];
      if (named >= 24 || (lit && !lit.has(k)) || x < 0 || y < 0 || x >= plot.width || y >= plot.height) continue;
      const name = way().names[k].slice(0, 26);
      const picture = inputs.photos && inputs.units[i] >= 0 ? size : 0;
      const wide = Math.max(pen.measureText(name).width, picture);
      const high = picture + 18 * ratio;
      const [dx, dy] = signPlace(plot, i, wide, high);
      const left = clamp(x + dx, 2 * ratio, plot.width - wide - 2 * ratio);
      const top = clamp(y + dy, 2 * ratio, plot.height - high - 2 * ratio);
      if (!free(left - 3 * ratio, top, wide + 6 * ratio, high)) continue;
      named++;
      Object.assign(pen, { strokeStyle: ink, lineWidth: ratio });
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(left + wide / 2, top + high / 2);
      pen.stroke();
      if (picture) {
        inputs.drawPatch(pen, i, left + (wide - size) / 2, top, size);
        Object.assign(pen, { strokeStyle: cssColour(way().rgb(k)), lineWidth: 3 * ratio });
        pen.strokeRect(left + (wide - size) / 2, top, size, size);
      }
      pen.textAlign = "center";
      textOn(pen, name, left + wide / 2, top + picture + 10 * ratio, paper, ink);
    }
    pen.textAlign = "left";
  }
  function ring(pen, plot, i, dashed) {
    for (const [colour, wide] of [["#000", 5], [dashed ? "#ffd23f" : "#fff", 2.5]]) {
      Object.assign(pen, { strokeStyle: colour, lineWidth: wide * ratio });
      pen.setLineDash(dashed && wide < 5 ? [5 * ratio, 3 * ratio] : []);
      pen.beginPath();
      pen.arc(plot.sx[i], plot.sy[i], plot.radius + 6 * ratio, 0, 2 * Math.PI);
      pen.stroke();
    }
    pen.setLineDash([]);
  }
  // From a point to those most alike in other inputs, by each atlas in its colour.
  function rays(pen, plot, i) {
    inputs.alikeOf(i).forEach((found, a) => found.forEach((j) => {
      for (const [colour, wide] of [["#fff", 4], [LIKE_COLOURS[a], 2]]) {
        Object.assign(pen, { strokeStyle: colour, lineWidth: wide * ratio });
        pen.beginPath();
        pen.moveTo(plot.sx[i], plot.sy[i]);
        pen.lineTo(plot.sx[j], plot.sy[j]);
        pen.stroke();
      }
      pen.fillStyle = LIKE_COLOURS[a];
      pen.beginPath();
      pen.arc(plot.sx[j], plot.sy[j], 5 * ratio, 0, 2 * Math.PI);
      pen.fill();
    }));
  }
  function drawPath(pen, path, ink) {
    pen.beginPath();
    path.forEach((p, k) => (k ? pen.lineTo(...p) : pen.moveTo(...p)));
    pen.closePath();
    Object.assign(pen, { strokeStyle: ink, lineWidth: 2 * ratio, fillStyle: "rgb(86 180 233 / .22)" });
    pen.fill();
    pen.setLineDash([6 * ratio, 4 * ratio]);
    pen.stroke();
    pen.setLineDash([]);
  }

  return (pen, plot) => {
    const { color: ink, backgroundColor: paper } = getComputedStyle(plot.box);
    ratio = plot.ratio;
    Object.assign(pen, { font: `600 ${13 * ratio}px system-ui, sans-serif`, textAlign: "left", textBaseline: "middle", lineJoin: "round" });
    const free = makeRoom();
    const close = plot.shown <= CLOSE && plot.camera.k > 1.5 * plot.home.k;
    const { over, pinned } = looked();
    if (pinned >= 0) rays(pen, plot, pinned);
    if (!plot.gliding && close) closeUp(pen, plot, free, paper, ink);
    else if (!plot.gliding) nameClasses(pen, plot, free, paper, ink);
    if (pinned >= 0) ring(pen, plot, pinned, true);
    if (over >= 0) ring(pen, plot, over, false);
    if (plot.crosshair) {
      Object.assign(pen, { strokeStyle: ink, lineWidth: ratio });
      pen.strokeRect(plot.width / 2 - 7 * ratio, plot.height / 2 - 7 * ratio, 14 * ratio, 14 * ratio);
    }
    if (plot.path) drawPath(pen, plot.path, ink);
  };
}
