// A frame tells the page round it how high it is; it may do nothing else there.
new ResizeObserver(() => {
  parent.postMessage({ ukHeight: document.documentElement.offsetHeight }, "*");
}).observe(document.documentElement);
