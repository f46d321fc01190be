// A view brought to life in a page: its state is unpacked, and `define()` gives the script's `render`.
(async function (state, binary, define) {
  const el = document.currentScript.previousElementSibling;
  // What a view asks of its host, without a kernel behind it.
  function makeModel(state) {
    const listeners = {};
    return {
      get: (key) => state[key],
      set: (key, value) => {
        if (state[key] === value) return;
        state[key] = value;
        (listeners["change:" + key] || []).slice().forEach((listener) => listener());
      },
      on: (event, listener) => { (listeners[event] = listeners[event] || []).push(listener); },
      off: (event, listener) => { listeners[event] = (listeners[event] || []).filter((l) => l !== listener); },
      save_changes: () => {},
      send: () => {},
    };
  }
  async function unpack(text, deflated) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    if (!deflated) return new DataView(bytes.buffer);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new DataView(await new Response(stream).arrayBuffer());
  }
  for (const [key, packed] of Object.entries(binary)) state[key] = await unpack(...packed);
  el.replaceChildren();
  const { render } = define();
  render({ model: makeModel(state), el });
})
