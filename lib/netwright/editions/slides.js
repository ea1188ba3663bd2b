// One slide at a time. Without this script the page is the slides one below the other.
const slides = [...document.querySelectorAll("section")];
const where = document.querySelector("output");
let at = 0;

// Text that does not fit is made smaller, down to half. Figures keep their share of the window.
function fit(slide) {
  let scale = 1;
  slide.style.setProperty("--fit", scale);
  while (scale > 0.5 && (slide.scrollHeight > slide.clientHeight || slide.scrollWidth > slide.clientWidth)) {
    slide.style.setProperty("--fit", (scale -= 0.05));
  }
}

function show(number) {
  at = Math.max(0, Math.min(slides.length - 1, number));
  slides.forEach((slide, i) => (slide.hidden = i !== at));
  fit(slides[at]);
  where.textContent = `${at + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${at + 1}`);
  slides[at].focus({ preventScroll: true });
}

function toggleNotes() {
  document.querySelectorAll(".notes").forEach((notes) => (notes.hidden = !notes.hidden));
  fit(slides[at]);
}

const keys = {
  ArrowRight: () => show(at + 1),
  ArrowLeft: () => show(at - 1),
  PageDown: () => show(at + 1),
  PageUp: () => show(at - 1),
  Home: () => show(0),
  End: () => show(slides.length - 1),
  n: toggleNotes,
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1));
addEventListener("resize", () => fit(slides[at]));
addEventListener("load", () => {
  document.querySelector("#back").onclick = () => show(at - 1);
  document.querySelector("#on").onclick = () => show(at + 1);
  document.body.classList.add("deck");
  slides.forEach((slide) => fit(slide)); // for paper, where each is as small as it is here
  show(Number(location.hash.slice(1) || 1) - 1);
});
