// The class map: a picture cut into the cells of the last map, each with what it adds to the logit; Grad-CAM beside it.

function view(ui) {
  const { maps, sums, bias, logits, classes, places } = ui.data;
  const [, rows, columns] = maps.shape;
  const last = places.length - 1;
  const side = 330;
  const known = places.map((_, at) => new Map([...ui.data.cam_classes].map((c, i) => [c, slice(ui.data.cams[at], i)])));
  const most = slice(maps, ui.data.target).reduce((best, x, i, all) => (x > all[best] ? i : best), 0);
  const first = { target: ui.data.target, against: ui.data.against, row: Math.floor(most / columns), column: most % columns, place: Math.max(0, last - 1),
    scale: "all", ground: "over", cut: false, own: false };
  for (const [name, value] of Object.entries(first)) ui.choice[name] ??= value;
  if (ui.choice.row >= rows || ui.choice.column >= columns) Object.assign(ui.choice, { row: 0, column: 0 });

  const names = [...ui.data.order].map((c) => [c, `${classes[c]} (${signed(logits[c])})`]);
  const controls = make(ui.body, "div", { class: "nw-row" });
  const target = menu(controls, "Class", names, ui.choice.target, (c) => pickClass({ target: c }));
  const against = menu(controls, "against", [[null, "no other class"], ...names], ui.choice.against, (c) => pickClass({ against: c }));
  for (const it of [target, against]) it.element.style.maxWidth = "17em";
  const ground = segments(controls, "Show", [["over", "over the picture"], ["alone", "alone"]], ui.choice.ground, (it) => ui.choose({ ground: it }));
  const scales = segments(controls, "Scale", [["all", "all classes"], ["this", "this map"]], ui.choice.scale, (it) => ui.choose({ scale: it }));

  const second = make(ui.body, "div", { class: "nw-row", role: "group", "aria-label": "Grad-CAM" });
  make(second, "span", { class: "nw-label" }, "Grad-CAM:");
  const place = menu(second, "at the map", places.map((name, i) => [i, `${name}, ${size(i)}${i === last ? ": the class map's" : ""}`]), ui.choice.place, (i) => ui.choose({ place: i }));
  const cut = segments(second, "Sign", [[false, "both"], [true, "positive part"]], ui.choice.cut, (it) => ui.choose({ cut: it }));
  const own = segments(second, "Scale", [[false, "the class map's"], [true, "its own maximum"]], ui.choice.own, (it) => ui.choose({ own: it }));

  const panes = make(ui.body, "div", { class: "nw-columns" });
  const third = { class: "nw-cell", style: `width: ${side}px` };
  const left = make(panes, "div", third);
  make(left, "strong", {}, `Class map: ${rows} × ${columns} cells, exact`);
  const height = Math.round((side * ui.data.size[0]) / ui.data.size[1]);
  const canvas = pickable(left, side, height, rows, columns, {
    label: "class map", at: () => [ui.choice.row, ui.choice.column], leap: 3,
    onPick: (row, column) => ui.choose({ row, column }),
  });
  const bar = legend(left, limits([0], true), "logit");
  const ledger = make(left, "p");

  const right = make(panes, "div", third);
  const heading = make(right, "strong", {}, "Grad-CAM");
  const cam = picture(right, side, height, "Grad-CAM");
  const camBar = legend(right, limits([0], true), "logit");
  const camNote = make(right, "p");
  const votes = make(panes, "div", third);
  const votesHeading = make(votes, "strong");
  const voted = bars(votes, { label: "Classes that the cell adds most to", unit: "", sortable: false, tall: true, onPick: (c) => pickClass({ target: Number(c) }) });
  make(votes, "p", {}, "Pick a class to see its map.");

  let grey = null; // under the map the picture has no colours of its own
  const photo = new Image();
  photo.onload = () => {
    grey = new OffscreenCanvas(photo.width, photo.height);
    const context = grey.getContext("2d");
    context.drawImage(photo, 0, 0);
    const pixels = context.getImageData(0, 0, photo.width, photo.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const [r, g, b] = pixels.data.subarray(i, i + 3);
      pixels.data.fill(0.299 * r + 0.587 * g + 0.114 * b, i, i + 3);
    }
    context.putImageData(pixels, 0, 0);
    draw();
  };
  photo.src = ui.data.picture;

  function size(i) {
    return ui.data.cams[i].shape.slice(1).join(" × ");
  }

  /** A menu or a bar chose; a class against itself is no question. */
  function pickClass(patch) {
    const next = { ...ui.choice, ...patch };
    if (next.against === next.target) patch.against = null;
    ui.choose(patch);
  }

  /** The map of the chosen class, less the other's. */
  function difference(of) {
    const { target: c, against: d } = ui.choice;
    const one = of(c), other = d === null ? null : of(d);
    return one && (d === null || other) ? one.map((x, i) => x - (other ? other[i] : 0)) : null;
  }
  const minus = (values) => values[ui.choice.target] - (ui.choice.against === null ? 0 : values[ui.choice.against]);
  const whom = () => classes[ui.choice.target] + (ui.choice.against === null ? "" : ` rather than ${classes[ui.choice.against]}`);

  function paint(on, values, [r, c], scale) {
    const context = on.getContext("2d");
    context.clearRect(0, 0, on.width, on.height);
    if (ui.choice.ground === "over" && grey) {
      context.imageSmoothingEnabled = false;
      context.drawImage(grey, 0, 0, on.width, on.height);
      context.globalAlpha = 0.6;
    }
    heat(on, values, r, c, scale);
    context.globalAlpha = 1;
  }

  /** Ask for the Grad-CAM of a class that is not stored; what is missing is said. */
  async function fetchCams(at) {
    for (const c of [ui.choice.target, ui.choice.against]) {
      if (c === null || known[at].has(c)) continue;
      const answer = await ui.ask({ cam: c, place: at });
      if (!answer) return;
      known[at].set(c, answer.cam);
      draw();
    }
  }

  const everything = Math.max(...limits(maps, true).raw.map(Math.abs));
  function scaleOf(values) {
    const scale = limits(values, true);
    if (ui.choice.scale === "this") return scale;
    const reach = everything * (ui.choice.against === null ? 1 : 2);
    return { ...scale, low: -reach, high: reach };
  }

  function draw() {
    const { row, column } = ui.choice;
    target.value = ui.choice.target;
    against.value = ui.choice.against;
    place.value = ui.choice.place;
    [ground.value, scales.value, cut.value, own.value] = [ui.choice.ground, ui.choice.scale, ui.choice.cut, ui.choice.own];
    const shown = difference((c) => slice(maps, c)), scale = scaleOf(shown);
    paint(canvas, shown, [rows, columns], scale);
    const [w, h] = [canvas.width / columns, canvas.height / rows];
    outline(canvas, column * w + 1, row * h + 1, w - 2, h - 2, { ink: "#000000" });
    bar.draw(scale);
    const value = shown[row * columns + column], total = minus(sums), rest = minus(bias), logit = minus(logits);
    const what = ui.choice.against === null ? "the logit" : "the difference of the logits";
    ledger.textContent = `cells ${signed(total, 5)}, bias ${signed(rest, 5)}: ${signed(total + rest, 5)}. The net's ${what.slice(4)}: ${signed(logit, 5)}.`;
    canvas.setAttribute("aria-label", `Class map of ${whom()}: ${rows} by ${columns} cells that sum to ${signed(total)}. Arrow keys pick a cell.`);

    drawCam(scale);
    drawVotes(row, column);
    const [y, x] = [span(row, ui.data.size[0] / rows), span(column, ui.data.size[1] / columns)];
    ui.say(`${whom()}: the cell in row ${row}, column ${column} (pixels ${y} down, ${x} across) adds ${signed(value)} to ${what}, ` +
      `${signed(logit)}. The ${rows * columns} cells sum to ${signed(total)}, the bias adds ${signed(rest)}.`);
  }
  const span = (i, step) => `${Math.round(i * step)} to ${Math.round((i + 1) * step) - 1}`;

  function drawCam(scale) {
    const i = ui.choice.place, [, r, c] = ui.data.cams[i].shape;
    let values = difference((it) => known[i].get(it));
    if (!values && i === last) values = difference((it) => slice(maps, it)); // there the two are one
    cam.hidden = !values;
    heading.textContent = `Grad-CAM: ${r} × ${c} cells, ${i === last ? "exact here" : "first-order only"}`;
    if (!values) {
      camNote.textContent = ui.live ? "Asking the kernel …" : "Not stored in this page for this class; the notebook has it.";
      if (ui.live) fetchCams(i);
      return;
    }
    const total = values.reduce((a, b) => a + b, 0);
    if (ui.choice.cut) values = values.map((x) => Math.max(0, x));
    const mine = limits(values, true);
    const used = ui.choice.own ? mine : { ...mine, low: scale.low, high: scale.high };
    paint(cam, values, [r, c], used);
    camBar.draw(used);
    camNote.textContent = i === last
      ? `Before its ReLU it is the class map: it sums to ${signed(total, 5)}.`
      : `It sums to ${signed(total)}, which is no logit: what follows this map is not linear.`;
    if (ui.choice.cut) camNote.textContent += " What speaks against the class is hidden.";
    cam.setAttribute("aria-label", `${heading.textContent}, ${number(mine.raw[0])} to ${number(mine.raw[1])} logit. ${camNote.textContent}`);
  }

  function cellVotes(row, column) {
    return classes.map((name, c) => ({ key: c, label: name, title: name, value: maps[(c * rows + row) * columns + column] }))
      .sort((a, b) => b.value - a.value);
  }
  function drawVotes(row, column) {
    votesHeading.textContent = `The cell in row ${row}, column ${column} adds most to`;
    voted.draw(cellVotes(row, column).slice(0, 8), ui.choice.target);
  }

  function table() {
    const shown = difference((c) => slice(maps, c));
    return {
      caption: `Class map of ${whom()}, in logits: sum ${signed(minus(sums), 5)}, bias ${signed(minus(bias), 5)}, logit ${signed(minus(logits), 5)}`,
      head: ["row", ...Array.from({ length: columns }, (_, j) => `column ${j}`)],
      rows: Array.from({ length: rows }, (_, i) => [`${i}`, ...Array.from({ length: columns }, (_, j) => signed(shown[i * columns + j], 4))]),
    };
  }
  return { draw, table };
}
