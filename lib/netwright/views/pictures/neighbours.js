// Nearest neighbours: a sheet of all pictures, the nearest to the picked one for the trained net and for random weights.

function view(ui) {
  const { columns, thumb, labels, names, called, trained, random, chance } = ui.data;
  const count = labels.length, rows = Math.ceil(count / columns), k = trained.neighbours.shape[1];
  const nets = [["trained", trained], ["random weights", random]];
  const large = 64; // pixels: a thumbnail drawn large
  ui.choice.query ??= ui.data.query;
  ui.choice.map ??= "trained";

  const top = make(ui.body, "div", { class: "nw-columns" });
  const left = make(top, "div", { class: "nw-cell", style: `width: ${columns * thumb}px; max-width: 100%` });
  make(left, "strong", {}, `All ${count} pictures: pick one`);
  const sheet = pickable(left, columns * thumb, rows * thumb, rows, columns, {
    label: "all pictures", leap: 4,
    at: () => [Math.floor(ui.choice.query / columns), ui.choice.query % columns],
    onPick: (row, column) => { const query = row * columns + column; if (query < count) ui.choose({ query }); },
  });
  make(left, "p", {}, "Solid orange: the picked one. Dashed blue: its nearest for the trained net.");

  const right = make(top, "div", { class: "nw-cell", style: "width: 280px" });
  const mapMenu = segments(right, "In two dimensions", nets.map(([name], i) => [i ? "random" : "trained", i ? "random" : name]), ui.choice.map, (map) => ui.choose({ map }));
  const plane = picture(right, 280, 240, "the pictures in two dimensions");
  const planeNote = make(right, "p");

  const lists = nets.map(([name, it]) => {
    const box = make(ui.body, "div", { style: "margin-top: 10px" });
    make(box, "strong", {}, `Nearest, ${name}`);
    const [share, low, high] = it.agreement ?? [];
    make(box, "span", { class: "nw-note" }, it.agreement
      ? ` Of the ${k} nearest ${percent(share, 1)} share the picture's class (95 % interval ${percent(low, 1)} to ${percent(high, 1)}; by chance ${percent(chance, 1)}).` : "");
    const list = make(box, "div", { class: "nw-row", role: "group", "aria-label": `Nearest, ${name}`, style: "gap: 4px; margin: 4px 0 0; align-items: flex-start" });
    return Array.from({ length: k }, () => {
      const item = make(list, "button", { type: "button", style: "padding: 3px; width: 92px; line-height: 1.25", onclick: () => ui.choose({ query: Number(item.dataset.number) }) });
      const canvas = make(item, "canvas", { width: large, height: large, "aria-hidden": "true" });
      const distance = make(make(item, "div"), "b");
      const what = make(item, "div", { style: "font-size: 12px; min-height: 2.5em" });
      return { item, canvas, distance, what };
    });
  });

  const pictures = new Image();
  pictures.onload = () => draw();
  pictures.src = ui.data.sheet;

  const place = (number) => [(number % columns) * thumb, Math.floor(number / columns) * thumb];
  const known = (number) => labels[number] >= 0;
  const alike = (a, b) => known(a) && labels[a] === labels[b];
  const about = (number) => called[number].replace(/^ \(|\)$/g, "") || "no label";

  function draw() {
    const query = ui.choice.query, mine = [...slice(trained.neighbours, query)];
    mapMenu.value = ui.choice.map;
    const context = sheet.getContext("2d");
    context.clearRect(0, 0, sheet.width, sheet.height);
    if (pictures.complete) context.drawImage(pictures, 0, 0);
    for (const number of mine) outline(sheet, ...place(number).map((x) => x + 2), thumb - 4, thumb - 4, { ink: "#0072b2", dash: [4, 3] });
    outline(sheet, ...place(query).map((x) => x + 2), thumb - 4, thumb - 4, { line: 3 });
    sheet.setAttribute("aria-label", `All ${count} pictures. Picked: number ${query}${called[query]}. Arrow keys pick another.`);

    nets.forEach(([name, it], i) => lists[i].forEach(({ item, canvas, distance, what }, j) => {
      const number = slice(it.neighbours, query)[j], far = slice(it.distances, query)[j];
      item.dataset.number = number;
      const at = canvas.getContext("2d");
      at.imageSmoothingEnabled = false;
      if (pictures.complete) at.drawImage(pictures, ...place(number), thumb, thumb, 0, 0, large, large);
      item.style.borderColor = alike(number, query) ? "var(--nw-good)" : "";
      distance.textContent = number_(far);
      what.textContent = `${alike(number, query) ? "✓ " : ""}${about(number)}`;
      item.setAttribute("aria-label", `${j + 1}: picture ${number}${called[number]}, distance ${number_(far)}${alike(number, query) ? ", the same class" : ""}`);
    }));
    drawMap(query);

    const same = (it) => [...slice(it.neighbours, query)].filter((number) => alike(number, query)).length;
    const sharing = known(query) ? ` ${same(trained)} of ${k} share its class; with random weights ${same(random)}.` : "";
    ui.say(`Picture ${query}${called[query]}: nearest is picture ${mine[0]}${called[mine[0]]} at ${number_(slice(trained.distances, query)[0])}, ` +
      `number ${k} is at ${number_(slice(trained.distances, query)[k - 1])} (1 − cosine, in all ${ui.data.dimensions} dimensions).${sharing}`);
  }
  const number_ = (x) => x.toFixed(3).replace("-", MINUS);

  function drawMap(query) {
    const it = ui.choice.map === "random" ? random : trained, context = plane.getContext("2d");
    const dark = getComputedStyle(ui.body).getPropertyValue("--nw-soft");
    const [xs, ys] = [0, 1].map((axis) => extent(Array.from({ length: count }, (_, i) => it.map[2 * i + axis])));
    const at = (i) => [10 + ((it.map[2 * i] - xs[0]) / (xs[1] - xs[0] || 1)) * (plane.width - 20), plane.height - 10 - ((it.map[2 * i + 1] - ys[0]) / (ys[1] - ys[0] || 1)) * (plane.height - 20)];
    context.clearRect(0, 0, plane.width, plane.height);
    const dot = (i, radius, ink) => { context.fillStyle = ink; context.beginPath(); context.arc(...at(i), radius, 0, 7); context.fill(); };
    for (let i = 0; i < count; i++) dot(i, 2, dark);
    context.strokeStyle = CYCLE[5];
    for (const number of slice(it.neighbours, query)) {
      context.beginPath();
      context.moveTo(...at(query));
      context.lineTo(...at(number));
      context.stroke();
    }
    for (const number of slice(it.neighbours, query)) dot(number, 3.5, CYCLE[0]);
    dot(query, 5.5, CYCLE[1]);
    planeNote.textContent = `Keeps ${percent(it.kept_variance)} of the variance and ${percent(it.kept_neighbours)} of the neighbours: do not read neighbours off it. ` +
      `Lines go to the true ${k} nearest.`;
    plane.setAttribute("aria-label", `The pictures along the two directions of most variance. ${planeNote.textContent}`);
  }

  function table() {
    const query = ui.choice.query, cell = (it, j) => [`${slice(it.neighbours, query)[j]}${called[slice(it.neighbours, query)[j]]}`, number_(slice(it.distances, query)[j])];
    return {
      caption: `Nearest to picture ${query}${called[query]}; distance: 1 − cosine in ${ui.data.dimensions} dimensions`,
      head: ["", "trained: picture", "distance", "random weights: picture", "distance"],
      rows: Array.from({ length: k }, (_, j) => [`${j + 1}`, ...cell(trained, j), ...cell(random, j)]),
    };
  }
  return { draw, table };
}
