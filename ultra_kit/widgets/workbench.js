// Workbench: views as tabs. The views stand in the elements .uk-tab beside this one, each with a script of its
// own; here is only the row of tabs that shows one of them, and goes before them.
//
// Keys that never change: titles, one per tab. Key of the state: tab, the number of the one shown.

function render({ model, el }) {
  const titles = model.get("titles");
  const panels = [...el.parentElement.children].filter((node) => node.classList.contains("uk-tab"));
  el.parentElement.insertBefore(el, panels[0]);
  const root = makeRoot(el, "", "");
  root.classList.add("uk-bench");
  const row = element("div", "uk-tabs", root);
  row.setAttribute("role", "tablist");
  row.setAttribute("aria-label", "Views; left and right arrow keys choose");
  const tabs = titles.map((title, i) => {
    const tab = element("button", "", row, title);
    tab.type = "button";
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", () => change(model, { tab: i }));
    return tab;
  });
  panels.forEach((panel, i) => {
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-label", titles[i]);
  });

  function show() {
    const chosen = model.get("tab");
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === chosen));
      tab.tabIndex = i === chosen ? 0 : -1;
    });
    panels.forEach((panel, i) => { panel.hidden = i !== chosen; });
    el.dataset.tab = String(chosen);
  }

  row.addEventListener("keydown", (event) => {
    const last = tabs.length - 1;
    const at = model.get("tab");
    const next = { ArrowLeft: Math.max(at - 1, 0), ArrowRight: Math.min(at + 1, last), Home: 0, End: last }[event.key];
    if (next === undefined) return;
    change(model, { tab: next });
    tabs[next].focus();
    event.preventDefault();
  });
  const stop = watch(model, ["tab"], show);
  show();
  return stop;
}

export default { render };
