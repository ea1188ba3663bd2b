// Stands every stored view in its place; inside of a notebook's output, fits the frame to what it holds.
const places = document.querySelectorAll(".nw-place");
document.querySelectorAll("script.nw-data").forEach((data, i) => {
  mount(views[data.dataset.script], stored({ payload: data.textContent, choice: "{}" }), places[i]);
});
const outside = (() => { try { return window.frameElement; } catch { return null; } })();
if (outside) {
  document.body.classList.add("nw-framed");
  new ResizeObserver(() => { outside.style.height = `${document.documentElement.scrollHeight + 2}px`; }).observe(document.body);
  const still = outside.nextElementSibling;
  if (still?.classList.contains("nw-still")) still.hidden = true;
}
