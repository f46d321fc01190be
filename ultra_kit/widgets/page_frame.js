// A stored picture brought to life: its page in a frame, which reaches neither what is round it nor the network.
(function (name, title, height, page) {
  const host = [...document.querySelectorAll(`[id="${name}"]`)].find((h) => !h.dataset.live);
  if (!host) return;
  host.dataset.live = "1";
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.title = title;
  frame.style.cssText = `width:100%;height:${height}px;border:0;background:#fff`;
  frame.srcdoc = page;
  window.addEventListener("message", (event) => {
    const high = event.source === frame.contentWindow && event.data && event.data.ukHeight;
    if (typeof high === "number") frame.style.height = Math.min(high, 4000) + "px";
  });
  host.replaceChildren(frame);
})
