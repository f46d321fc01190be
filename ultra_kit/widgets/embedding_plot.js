// The plane of an EmbeddingExplorer: tens of thousands of points drawn anew for every frame, moved, zoomed, and caught
// with a lasso. The points are blended into one ImageData by hand, which is several times faster than arcs on a canvas.

// A disc of a radius as [dx, dy, cover of 0..256], with a soft edge.
function makeStamp(radius) {
  const reach = Math.ceil(radius + 0.5);
  const dots = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.round(256 * clamp(radius + 0.5 - Math.hypot(dx, dy), 0, 1));
      if (cover) dots.push([dx, dy, cover]);
    }
  }
  return { reach, dots };
}

// Blend discs into `pixels` (Uint32 per pixel), `stride` wide with a margin of `pad` on all sides, so that no disc is cut.
function stampPoints(pixels, stride, high, pad, xs, ys, order, colours, stamp) {
  const { dots } = stamp;
  const offsets = Int32Array.from(dots, ([dx, dy]) => dy * stride + dx);
  const covers = Int32Array.from(dots, (dot) => dot[2]);
  const right = stride - pad;
  const bottom = high - pad;
  for (let j = 0; j < order.length; j++) {
    const i = order[j];
    const x = Math.round(xs[i]) + pad;
    const y = Math.round(ys[i]) + pad;
    if (x < stamp.reach || y < stamp.reach || x >= right + pad - stamp.reach || y >= bottom + pad - stamp.reach) continue;
    const c = colours[i];
    const redBlue = c & 0xff00ff;
    const green = (c >>> 8) & 0xff;
    const at = y * stride + x;
    for (let k = 0; k < offsets.length; k++) {
      const a = covers[k];
      if (a === 256) {
        pixels[at + offsets[k]] = c;
        continue;
      }
      const d = pixels[at + offsets[k]];
      const rb = d & 0xff00ff;
      const g = (d >>> 8) & 0xff;
      pixels[at + offsets[k]] = 0xff000000 | ((((rb << 8) + Math.imul(redBlue - rb, a)) >>> 8) & 0xff00ff)
        | (((g << 8) + (green - g) * a) & 0xff00);
    }
  }
}

// Which of the points lie in a polygon of the same unit, by counting the edges to their right.
function pointsInside(xs, ys, polygon) {
  const found = [];
  const [left, right] = [Math.min(...polygon.map((p) => p[0])), Math.max(...polygon.map((p) => p[0]))];
  for (let i = 0; i < xs.length; i++) {
    const [x, y] = [xs[i], ys[i]];
    if (x < left || x > right) continue;
    let inside = false;
    for (let k = 0; k < polygon.length; k++) {
      const [x0, y0] = polygon[k];
      const [x1, y1] = polygon[(k + 1) % polygon.length];
      if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) inside = !inside;
    }
    if (inside) found.push(i);
  }
  return found;
}

// The canvases and what moves them. `xs`, `ys` are the points, upwards, the longer side of their box being 0..1;
// `on` has over(i), pick(i), lasso(polygon) and drawn(), and draws on top by `decorate(pen, plot)`.
function makePlot(parent, xs, ys, on) {
  const n = xs.length;
  const box = element("div", "uk-emb-plot", parent);
  const canvas = element("canvas", "uk-emb-points", box);
  const over = element("canvas", "uk-emb-over", box);
  pointAtIt(box, "The points: arrow keys move, plus and minus zoom, Enter keeps the point in the middle");
  const pen = canvas.getContext("2d");
  const overPen = over.getContext("2d");
  const sx = new Float32Array(n); // on the canvas, in its own pixels
  const sy = new Float32Array(n);
  const home = { x: 0.5, y: 0.5, k: 1 };
  const camera = { ...home };
  const down = new Map(); // the pointers that are down, by id
  const state = { xs, ys, sx, sy, camera, home, ratio: 1, width: 1, height: 1, colours: new Uint32Array(n), layers: [], radius: 2, shown: 0,
    lassoing: false, path: null, crosshair: false, gliding: 0, glides: 0, glide, draw, refresh, nearest, zoomAt, pan, goHome, goTo, box, canvas, over };
  let image = null;
  let asked = 0;
  let dirty = false;

  // The places from which all points are seen.
  function setHome() {
    const span = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
    const [[x0, x1], [y0, y1]] = [span(xs), span(ys)];
    Object.assign(home, { x: (x0 + x1) / 2, y: (y0 + y1) / 2,
      k: 0.9 * Math.min(state.width / Math.max(x1 - x0, 1e-6), state.height / Math.max(y1 - y0, 1e-6)) });
  }
  function measure() {
    state.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = box;
    state.width = Math.max(1, Math.round(clientWidth * state.ratio));
    state.height = Math.max(1, Math.round(clientHeight * state.ratio));
    for (const one of [canvas, over]) Object.assign(one, { width: state.width, height: state.height });
    image = null;
    const was = home.k;
    setHome();
    if (was === 1) Object.assign(camera, home);
    else camera.k *= home.k / was;
    refresh();
  }

  // Draw at the next frame: the points too, or only what lies on them.
  function ask(points) {
    dirty = dirty || points;
    asked = asked || requestAnimationFrame(() => {
      asked = 0;
      if (dirty) drawPoints();
      dirty = false;
      overPen.clearRect(0, 0, state.width, state.height);
      on.decorate(overPen, state);
      on.drawn(state);
    });
  }
  function draw() { ask(false); }
  function refresh() { ask(true); }

  function drawPoints() {
    const began = performance.now();
    const { width, height, ratio } = state;
    const closer = camera.k / home.k;
    state.radius = ratio * clamp(0.32 * Math.sqrt((width * height) / (ratio * ratio * Math.max(n, 1))) * closer ** 0.4, 1.1, 7);
    const pad = Math.ceil(2 * state.radius) + 2;
    if (!image || image.pad !== pad) {
      const data = pen.createImageData(width + 2 * pad, height + 2 * pad);
      image = { pad, data, pixels: new Uint32Array(data.data.buffer) };
    }
    const paper = (getComputedStyle(box).backgroundColor.match(/\d+/g) || [255, 255, 255]).slice(0, 3).map(Number);
    image.pixels.fill(packedColour(paper));
    const [x0, y0] = [width / 2 - camera.x * camera.k, height / 2 + camera.y * camera.k];
    state.shown = 0;
    for (let i = 0; i < n; i++) {
      sx[i] = x0 + xs[i] * camera.k;
      sy[i] = y0 - ys[i] * camera.k;
      if (sx[i] >= 0 && sy[i] >= 0 && sx[i] < width && sy[i] < height) state.shown++;
    }
    for (const { order, grow } of state.layers) {
      stampPoints(image.pixels, width + 2 * pad, height + 2 * pad, pad, sx, sy, order, state.colours, makeStamp(state.radius * grow));
    }
    pen.putImageData(image.data, -pad, -pad);
    box.dataset.work = (performance.now() - began).toFixed(2);
  }

  // The point at most `reach` CSS pixels from a place on the canvas, or -1.
  function nearest(x, y, reach) {
    let best = -1;
    let least = (reach * state.ratio) ** 2;
    for (let i = 0; i < n; i++) {
      const d = (sx[i] - x) ** 2 + (sy[i] - y) ** 2;
      if (d <= least) [best, least] = [i, d];
    }
    return best;
  }

  function zoomAt(x, y, factor) {
    const k = clamp(camera.k * factor, home.k / 2, home.k * 500);
    camera.x += (x - state.width / 2) * (1 / camera.k - 1 / k);
    camera.y -= (y - state.height / 2) * (1 / camera.k - 1 / k);
    camera.k = k;
    refresh();
  }
  function pan(dx, dy) {
    camera.x = clamp(camera.x - dx / camera.k, 0, 1);
    camera.y = clamp(camera.y + dy / camera.k, 0, 1);
    refresh();
  }
  function goHome() {
    Object.assign(camera, home);
    refresh();
  }
  // Let the points move to other places, all of them in sight; at once for readers who want no motion.
  function glide(toX, toY) {
    const [fromX, fromY, from] = [xs.slice(), ys.slice(), { ...camera }];
    const long = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 1400;
    let began = 0;
    const go = (time) => {
      began = began || time;
      const t = long ? Math.min(1, (time - began) / long) : 1;
      const share = t * t * (3 - 2 * t);
      for (let i = 0; i < n; i++) {
        xs[i] = t < 1 ? fromX[i] + share * (toX[i] - fromX[i]) : toX[i];
        ys[i] = t < 1 ? fromY[i] + share * (toY[i] - fromY[i]) : toY[i];
      }
      setHome();
      for (const key of ["x", "y", "k"]) camera[key] = from[key] + share * (home[key] - from[key]);
      state.gliding = t < 1 ? requestAnimationFrame(go) : 0;
      refresh();
    };
    cancelAnimationFrame(state.gliding);
    state.glides++;
    state.gliding = requestAnimationFrame(go);
  }
  // Bring a point into sight, if it is out of it.
  function goTo(i) {
    const [x, y] = [sx[i], sy[i]];
    if (x > 0 && y > 0 && x < state.width && y < state.height) return draw();
    Object.assign(camera, { x: xs[i], y: ys[i] });
    return refresh();
  }

  const placeOf = (event) => {
    const at = box.getBoundingClientRect();
    return [(event.clientX - at.left) * state.ratio, (event.clientY - at.top) * state.ratio];
  };
  const reachOf = (event) => (event.pointerType === "touch" ? 22 : 10);
  let moved = 0;
  box.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    box.setPointerCapture(event.pointerId);
    state.crosshair = false;
    const at = placeOf(event);
    if (!down.size) moved = 0;
    down.set(event.pointerId, at);
    state.path = down.size === 1 && (state.lassoing || event.shiftKey) ? [at] : null;
  });
  box.addEventListener("pointermove", (event) => {
    const at = placeOf(event);
    const was = down.get(event.pointerId);
    if (!was) {
      on.over(nearest(...at, reachOf(event)));
      return;
    }
    moved += Math.hypot(at[0] - was[0], at[1] - was[1]) / state.ratio;
    if (down.size === 2) {
      const other = [...down].find(([id]) => id !== event.pointerId)[1];
      const middle = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
      pan((at[0] - was[0]) / 2, (at[1] - was[1]) / 2);
      zoomAt(...middle, Math.hypot(at[0] - other[0], at[1] - other[1]) / Math.max(1, Math.hypot(was[0] - other[0], was[1] - other[1])));
    } else if (state.path) {
      const last = state.path[state.path.length - 1];
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) < 3 * state.ratio) return; // the pointer's place in the path stays behind
      state.path.push(at);
      draw();
    } else if (down.size === 1 && moved > 3) {
      pan(at[0] - was[0], at[1] - was[1]);
    }
    down.set(event.pointerId, at);
  });
  const up = (event) => {
    if (!down.delete(event.pointerId) || down.size) return;
    const path = state.path;
    state.path = null;
    if (event.type === "pointercancel") draw();
    else if (moved <= 3) on.pick(nearest(...placeOf(event), reachOf(event)));
    else if (path) on.lasso(path.map(([x, y]) => [camera.x + (x - state.width / 2) / camera.k, camera.y - (y - state.height / 2) / camera.k]));
  };
  box.addEventListener("pointerup", up);
  box.addEventListener("pointercancel", up);
  box.addEventListener("pointerleave", () => { if (!down.size) on.over(-1); });
  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(...placeOf(event), Math.exp(-clamp(event.deltaY * (event.deltaMode ? 20 : 1), -100, 100) * 0.004));
  }, { passive: false });
  const sizes = new ResizeObserver(measure);
  sizes.observe(box);
  const themes = ["(prefers-color-scheme: dark)", "print"].map((query) => matchMedia(query));
  themes.forEach((theme) => theme.addEventListener("change", refresh));
  state.stop = () => {
    sizes.disconnect();
    themes.forEach((theme) => theme.removeEventListener("change", refresh));
    cancelAnimationFrame(asked);
    cancelAnimationFrame(state.gliding);
  };
  return state;
}
