// The picture that is pointed at, and what is done on it.

// The picture to point at: image, veil outside the mask, points, box, cursor.
function makePicture(stage, model) {
  const [H, W] = model.get("size");
  const { panel } = makeFigure(stage, "Click on the object; drag a box");
  const address = pictureAddress(bytes(model, "image"));
  const box = pictureBox(panel, address, W / H, "The image");
  pointAtIt(box, "The image; arrow keys move a cross, Enter selects there, x rules out");
  const veil = element("canvas", "uk-map uk-mask", box);
  [veil.height, veil.width] = model.get("working");
  const marks = element("div", "uk-marks", box);
  const frame = element("div", "uk-frame", box);
  const cursor = element("div", "uk-cursor", box);
  cursor.hidden = true;
  const lay = (node, [x, y]) => { node.style.left = `${(100 * x) / W}%`; node.style.top = `${(100 * y) / H}%`; };

  // The mask on the veil, and its outline on the picture of the relevance.
  function drawMask(mask, outline) {
    const { width } = veil;
    const out = (i, on) => on && !mask[i];
    const edge = (i) => mask[i] && (out(i - 1, i % width > 0) || out(i + 1, (i + 1) % width > 0)
      || out(i - width, i >= width) || out(i + width, i + width < mask.length));
    paint(veil, (i) => (!mask ? [0, 0, 0, 0] : edge(i) ? [240, 228, 66, 255] : [255, 255, 255, mask[i] ? 0 : 175]));
    paint(outline, (i) => (mask && edge(i) ? [255, 255, 255, 255] : [0, 0, 0, 0]));
  }

  function drawPicks() {
    marks.replaceChildren();
    for (const [key, sign] of [["wanted", "+"], ["unwanted", "×"]]) {
      for (const point of model.get(key)) {
        const mark = element("span", `uk-mark uk-${key}`, marks, sign);
        mark.classList.toggle("uk-idle", !inBox(point, model.get("box")));
        lay(mark, point);
      }
    }
    drawBox(model.get("box"));
  }

  function drawBox(corners) {
    frame.hidden = !corners.length;
    if (frame.hidden) return;
    lay(frame, corners);
    frame.style.width = `${(100 * (corners[2] - corners[0])) / W}%`;
    frame.style.height = `${(100 * (corners[3] - corners[1])) / H}%`;
  }
  return { box, veil, drawMask, drawPicks, drawBox, address, cursor, place: (point) => { cursor.hidden = false; lay(cursor, point); } };
}

// Clicks and drags on the picture; a drag of less than 4 pixels is a click.
function listen(picture, model, act) {
  const size = model.get("size");
  let start = null;
  const at = (event) => pointAt(event, picture.box, size).map((v) => Math.floor(10 * v) / 10);
  const corners = (event) => {
    const [a, b] = [start.point, at(event)];
    return [0, 1].map((k) => Math.min(a[k], b[k])).concat([0, 1].map((k) => Math.max(a[k], b[k])));
  };
  const far = (event) => Math.hypot(event.clientX - start.x, event.clientY - start.y) >= 4;
  picture.box.addEventListener("contextmenu", (event) => event.preventDefault());
  picture.box.addEventListener("pointerdown", (event) => {
    start = { point: at(event), x: event.clientX, y: event.clientY };
    picture.box.setPointerCapture(event.pointerId);
  });
  picture.box.addEventListener("pointermove", (event) => { if (start && far(event)) picture.drawBox(corners(event)); });
  picture.box.addEventListener("pointerup", (event) => {
    if (!start) return;
    const made = corners(event);
    if (!far(event)) act.point(start.point, event.shiftKey || event.button === 2);
    else if (made[2] - made[0] >= 1 && made[3] - made[1] >= 1) act.box(made);
    else picture.drawPicks();
    start = null;
  });
}
