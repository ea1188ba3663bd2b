"""How long a view takes from an event in the browser to the next painted frame, measured inside of the page."""

# Waits for one event on the view, then for what it is to change: "words" (client side) or "answers" (from the kernel);
# then for the frame that shows it.
_CLOCK = """([view, what]) => {
  window.nwClock = new Promise((done) => {
    let start = 0;
    const begin = () => { if (!start) start = performance.now(); };
    const events = ['pointerdown', 'keydown', 'input', 'change', 'click'];
    events.forEach((name) => view.addEventListener(name, begin, { capture: true, once: true }));
    const watched = new MutationObserver(() => {
      watched.disconnect();
      requestAnimationFrame(() => {
        const channel = new MessageChannel();  // its message comes after the frame is painted
        channel.port1.onmessage = () => done(start ? performance.now() - start : null);
        channel.port2.postMessage(null);
      });
    });
    const choice = what === 'words' ? ['data-choice', 'data-said'] : ['data-answers'];
    watched.observe(view, { attributes: true, attributeFilter: choice });
    setTimeout(() => done(null), 3000);
  });
}"""


def clocked(page, view, what: str, act) -> float | None:
    """Milliseconds from what `act()` does to `view`, a locator, to the frame that shows the change of `what`.

    None where nothing changed within three seconds, as the kernel is not asked for what the page has already, and where
    the change was that of something done before.
    """
    page.evaluate(_CLOCK, [view.element_handle(), what])
    act()
    return page.evaluate("() => window.nwClock")
