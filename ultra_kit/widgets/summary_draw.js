// The picture of a SummaryExplorer: what the page shows, as a drawing.

// Copy words as they stand on the page onto a drawing; `at(place)` gives a rectangle of the page on it.
function copyWords(made, spans, at) {
  for (const span of spans) {
    const places = [...span.getClientRects()].map(at);
    if (!places.length) continue;
    const style = getComputedStyle(span);
    for (const box of places) {
      if (span.style.background) made.node("rect", { ...box, fill: style.backgroundColor });
      if (span.classList.contains("uk-sum-on")) made.node("rect", { ...box, fill: "none", stroke: "#d55e00", "stroke-width": 3 });
      if (span.classList.contains("uk-sum-weak")) made.node("rect", { ...box, y: box.y + box.height - 3, height: 3, fill: "#0072b2" });
    }
    const [first] = places;
    const whole = places.reduce((sum, place) => sum + place.width, 0);
    const fits = Math.max(1, Math.floor((span.textContent.length * first.width) / whole));
    const text = places.length > 1 ? span.textContent.slice(0, fits - 1) + "…" : span.textContent;
    const fixed = { textLength: first.width, lengthAdjust: "spacingAndGlyphs" }; // whatever font draws it
    made.node("text", { x: first.x, y: first.y + 0.78 * first.height, "font-size": parseFloat(style.fontSize), ...fixed }, text);
  }
}

// Summary and document as a drawing, by day whatever the page's theme.
function drawPage(root, summary, panels) {
  const theme = root.style.colorScheme;
  root.style.colorScheme = "light";
  try {
    return drawByDay(root, summary, panels);
  } finally {
    root.style.colorScheme = theme;
  }
}

function drawByDay(root, summary, panels) {
  const frame = root.getBoundingClientRect();
  const top = summary.box.getBoundingClientRect().top - 40;
  const at = (place) => ({ x: place.left - frame.left, y: place.top - top, width: place.width, height: place.height });
  const shown = panels.filter((p) => !p.panel.hidden);
  const bottoms = shown.flatMap((p) => p.rows.map((r) => r.row.getBoundingClientRect().bottom));
  const made = drawing(Math.ceil(frame.width), Math.ceil(Math.max(...bottoms) - top + 20));
  const write = (node, size, more) => {
    const { x, y } = at(node.getBoundingClientRect());
    if (node.textContent) made.node("text", { x, y: y + 1.2 * size, "font-size": size, ...more }, node.textContent.slice(0, 90));
  };
  made.node("text", { x: 12, y: 26, "font-size": 18, "font-weight": 600 }, "Summary");
  copyWords(made, summary.spans, at);
  for (const { panel, heading, bar, spans, rows } of shown) {
    write(heading, 17, { "font-weight": 600 });
    made.node("image", { ...at(bar.strip.getBoundingClientRect()), href: pictureData(bar.bar), preserveAspectRatio: "none" });
    panel.querySelectorAll(".uk-legend span").forEach((text) => write(text, 15));
    for (const { row, meter, share, tag } of rows) {
      const place = at(row.getBoundingClientRect());
      if (tag.textContent) made.node("rect", { ...place, width: 6, fill: "#0072b2" });
      for (const [node, fill] of [[meter.parentElement, "#ececf0"], [meter, "#7a5c1e"]]) {
        made.node("rect", { ...at(node.getBoundingClientRect()), fill });
      }
      for (const node of [row.firstElementChild, share, tag]) write(node, 15, { fill: "#45454d" });
    }
    copyWords(made, spans, at);
  }
  return made;
}
