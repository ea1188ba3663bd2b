// A slider over epochs: the picture, the class map and the strength of every stage then, and curves with a mark at it.
function view(ui) {
  const { data } = ui, { epochs } = data, EPOCHS = epochs.map((_, i) => i), SIDE = 150;
  const flat = (rows) => Float32Array.from(rows.flat());
  const stages = Object.keys(epochs[0].energy), measures = Object.keys(epochs[0].measures);
  const groups = {
    answer: ["probability", "top1"],
    inside: measures.filter((name) => !name.includes("terms")),
    terms: measures.filter((name) => name.includes("terms")),
  };

  const row = make(ui.body, "div", { class: "nw-row" });
  const start = ui.choice.epoch ?? epochs.length - 1;
  const range = slider(row, "Epoch", EPOCHS, start, (epoch) => ui.choose({ epoch }), (i) => String(epochs[i].epoch));
  segments(row, "Colours", [["training", "one scale for the training"], ["epoch", "each epoch its own"]],
    ui.choice.scale ?? "training", (scale) => ui.choose({ scale }));
  let playing = null;
  const play = button(row, "Play", () => {
    if (playing) { clearInterval(playing); playing = null; play.textContent = "Play"; return; }
    if (ui.still) return; // whoever asked for less motion has the slider
    play.textContent = "Stop";
    playing = setInterval(() => ui.choose({ epoch: ((ui.choice.epoch ?? start) + 1) % epochs.length }), 500);
  });
  play.hidden = ui.still;

  const shown = make(ui.body, "div", { class: "nw-columns" });
  const cell = make(shown, "span", { class: "nw-cell" });
  make(cell, "img", { src: data.picture, width: SIDE, height: SIDE, alt: `The picture: ${data.target}`, style: "image-rendering: pixelated" });
  make(cell, "p", {}, "the picture");
  const maps = ["class map", ...stages].map((name) => {
    const box = make(shown, "span", { class: "nw-cell", style: `width: ${SIDE}px` });
    return { name, canvas: picture(box, SIDE, SIDE, name), words: make(box, "p") };
  });
  const charts = make(ui.body, "div", { class: "nw-columns" });

  function values(it, name) {
    return flat(name === "class map" ? it.class_map : it.energy[name]);
  }
  function draw() {
    const at = ui.choice.epoch ?? start, it = epochs[at];
    range.value = at;
    for (const { name, canvas, words } of maps) {
      const rows = name === "class map" ? it.class_map : it.energy[name];
      const all = (ui.choice.scale ?? "training") === "training" ? epochs.flatMap((e) => [...values(e, name)]) : values(it, name);
      const scale = limits(all, name === "class map");
      heat(canvas, values(it, name), rows.length, rows[0].length, scale);
      words.textContent = `${name}, ${rows.length} × ${rows[0].length}, ${number(scale.low, 2)} to ${number(scale.high, 2)}`;
      canvas.setAttribute("aria-label", `${words.textContent} at epoch ${it.epoch}`);
    }
    charts.replaceChildren();
    const x = epochs.map((e) => e.epoch);
    lines(charts, [
      { name: `probability of “${data.target}”`, x, y: epochs.map((e) => e.probability) },
      { name: "accuracy on the validation split", x, y: epochs.map((e) => e.top1), dash: [6, 3] },
    ], { x: "epoch", y: "share", low: 0, high: 1, mark: it.epoch, width: 500, label: "The answer over the epochs" });
    for (const names of [groups.inside, groups.terms]) {
      if (!names.length) continue;
      lines(charts, names.map((name, i) => ({ name, x, y: epochs.map((e) => e.measures[name]), dash: i >= CYCLE.length ? [6, 3] : undefined })),
        { x: "epoch", low: 0, mark: it.epoch, width: 500, label: `${names.join("; ")} over the epochs` });
    }
    const inside = groups.inside.slice(0, 3).map((name) => `${name} ${number(it.measures[name], 2)} (random twin ${number(data.twin.measures[name], 2)})`);
    ui.say(`Epoch ${it.epoch}: ${percent(it.probability, 1)} for “${data.target}”, accuracy ${percent(it.top1, 1)}. ${inside.join("; ")}.`);
  }
  function table() {
    return {
      caption: `${ui.title}; the last row is the same net with random weights`,
      head: ["epoch", "probability", "accuracy", ...measures],
      rows: [...epochs, { ...data.twin, epoch: "random", top1: null }].map((e) => [String(e.epoch), e.probability, e.top1, ...measures.map((name) => e.measures[name])]),
    };
  }
  return { draw, table };
}
