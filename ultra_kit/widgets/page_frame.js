// A stored picture brought to life: its page in a frame, which reaches neither what is round it nor the network.
(function (name, title, height, page) {
  const host = [...document.querySelectorAll(`[id="${name}"]`)].find((h) => !h.dataset.live);
  if (!host) return;
  host.dataset.live = "1";
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.title = title;
  const { jpThemeLight: light } = document.body.dataset;
  const dark = light ? light === "false" : document.body.classList.contains("vscode-dark")
    || (!document.body.classList.contains("vscode-light") && matchMedia("(prefers-color-scheme: dark)").matches);
  frame.style.cssText = `width:100%;height:${height}px;border:0`;
  frame.srcdoc = page.replace("<html", `<html data-theme="${dark ? "dark" : "light"}"`);
  window.addEventListener("message", (event) => {
    const high = event.source === frame.contentWindow && event.data && event.data.ukHeight;
    if (typeof high === "number") frame.style.height = Math.min(high, 4000) + "px";
  });
  // On paper the stored picture stands in for the frame, which would be cut off at the height it has on the screen.
  const style = document.createElement("style");
  style.textContent = `@media screen { #${name} > img { display: none; } } @media print { #${name} > iframe { display: none; } }`;
  host.append(style, frame);
})
