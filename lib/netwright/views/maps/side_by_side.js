// One picture through several nets: rows are strides, columns nets; one place of the picture is marked in all maps.
// ui.choice: x, y (shares of the picture's width and height), scale ("unit", "stride", "net").

const STYLE = `
.nw-beside { display: grid; gap: 6px 14px; align-items: start; overflow-x: auto; padding: 3px; }
.nw-beside > * { min-width: 0; }
.nw-beside .name { font-size: 14px; align-self: end; overflow-wrap: anywhere; }
.nw-beside .row { color: var(--nw-soft); font-size: 13px; }
.nw-view .nw-beside canvas { width: 132px; height: 132px; display: block; }
.nw-beside .nw-legend { flex-direction: column; align-items: flex-start; gap: 2px; margin: 0; max-width: 190px; }
.nw-view .nw-beside .nw-legend canvas { width: 150px; height: 12px; }
.nw-beside ol { margin: 0; padding: 0; list-style: none; font-size: 13px; }
.nw-beside li { display: grid; grid-template-columns: 1fr 3.6em; gap: 0 4px; padding: 1px 0; }
.nw-beside li span:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums; }
.nw-beside li .nw-track { grid-column: 1 / 3; height: 5px; }
`;
const SCALES = [["unit", "each map"], ["stride", "each stride"], ["net", "each net"]];
const WORDS = {
  unit: "every map from 0 to its own largest number: colours cannot be compared.",
  stride: "the maps of one stride share a scale. The nets' units differ, so a darker map does not mean that its net sees less.",
  net: "the maps of one net share a scale.",
};

function view(ui) {
  const { nets, strides, maps, top, pictures, places, channels } = ui.data;
  make(ui.body, "style", {}, STYLE);
  ui.choice.scale ??= "stride";
  ui.choice.x ??= 0.5;
  ui.choice.y ??= 0.5;
  const at = (size, share) => Math.min(size - 1, Math.floor(size * share));
  const cellOf = (map) => [at(map.shape[0], ui.choice.y), at(map.shape[1], ui.choice.x)];
  const valueOf = (map) => { const [row, column] = cellOf(map); return map[row * map.shape[1] + column]; };

  const tools = make(ui.body, "div", { class: "nw-row" });
  const scales = segments(tools, "One colour scale for", SCALES, ui.choice.scale, (scale) => ui.choose({ scale }));
  make(ui.body, "p", { class: "nw-note" }, "Each map is the root mean square over the channels of the net's last map at this stride.");
  const note = make(ui.body, "p", { class: "nw-note" });
  const grid = make(ui.body, "div", { class: "nw-beside", style: `grid-template-columns: 5.5em repeat(${nets.length}, minmax(132px, 1fr)) 160px; margin-top: 8px` });

  make(grid, "span");
  nets.forEach((net) => make(grid, "strong", { class: "name" }, net));
  make(grid, "span");
  make(grid, "span", { class: "row" }, "what the net received");
  const received = pictures.map((address, n) => {
    if (!address) { make(grid, "span", { class: "row" }, "no picture is known"); return null; }
    const canvas = make(grid, "canvas", { width: 132, height: 132, role: "img", "aria-label": `The picture as ${nets[n]} received it; outlined, the chosen place` });
    const image = new Image();
    image.onload = () => { canvas.height = Math.round((132 * image.naturalHeight) / image.naturalWidth); canvas.style.height = "auto"; draw(); };
    image.src = address;
    return { canvas, image };
  });
  make(grid, "span");

  const rowBars = [], cells = [];
  strides.forEach((stride, k) => {
    make(grid, "span", { class: "row" }, `stride ${stride}`);
    nets.forEach((net, n) => {
      const map = maps[n][k];
      if (!map) { make(grid, "span", { class: "row" }, "no such map"); return; }
      const [rows, columns] = map.shape, zoom = Math.max(1, Math.floor(132 / Math.max(rows, columns)));
      const box = make(grid, "span", { class: "nw-cell" });
      const canvas = pickable(box, zoom * columns, zoom * rows, rows, columns, {
        label: `${net}, stride ${stride}, ${places[n][k]}: ${rows} by ${columns} numbers, arrow keys move the place`,
        at: () => cellOf(map), onPick: (r, c) => ui.choose({ x: (c + 0.5) / columns, y: (r + 0.5) / rows }), leap: 4 });
      make(box, "p", {}, `${rows} × ${columns}, of ${channels[n][k]} channels`);
      cells.push({ canvas, map, n, k, zoom });
    });
    rowBars.push(legend(make(grid, "span"), { low: 0, high: 1, map: "sequential", raw: [0, 1] }, "(activation)"));
  });
  const under = [make(grid, "span", { class: "row" }, "scale of the net")];
  const netBars = nets.map(() => { const box = make(grid, "span"); under.push(box); return legend(box, { low: 0, high: 1, map: "sequential", raw: [0, 1] }, "(activation)"); });
  under.push(make(grid, "span"));
  make(grid, "span", { class: "row" }, "likeliest classes");
  top.forEach((classes, n) => {
    const list = make(grid, "ol", { "aria-label": `The likeliest classes of ${nets[n]}` });
    for (const [name, p] of classes) {
      const item = make(list, "li");
      make(item, "span", {}, name);
      make(item, "span", {}, percent(p, p < 0.0995 ? 1 : 0));
      make(make(item, "span", { class: "nw-track", "aria-hidden": "true" }), "span", { class: "nw-fill", style: `left: 0; width: ${100 * p}%` });
    }
  });

  const joined = (some) => limits(some.filter((map) => map).flatMap((map) => extent(map)), false);
  function draw() {
    scales.value = ui.choice.scale;
    note.textContent = `Colours: ${WORDS[ui.choice.scale]}`;
    const ofStride = strides.map((_, k) => joined(maps.map((row) => row[k]))), ofNet = maps.map(joined);
    for (const { canvas, map, n, k, zoom } of cells) {
      const scale = { unit: () => limits(map, false), stride: () => ofStride[k], net: () => ofNet[n] }[ui.choice.scale]();
      const [row, column] = cellOf(map);
      heat(canvas, map, ...map.shape, scale);
      outline(canvas, column * zoom, row * zoom, zoom, zoom, { line: Math.min(2, Math.max(1, zoom / 4)) });
    }
    rowBars.forEach((bar, k) => bar.draw(ofStride[k]));
    netBars.forEach((bar, n) => bar.draw(ofNet[n]));
    grid.querySelectorAll(".nw-legend").forEach((bar, i) => { bar.hidden = ui.choice.scale !== (i < strides.length ? "stride" : "net"); });
    under.forEach((box) => { box.hidden = ui.choice.scale !== "net"; });
    for (const it of received) {
      if (!it?.image.complete) continue;
      const { canvas, image } = it, context = canvas.getContext("2d");
      context.imageSmoothingEnabled = true; // a photograph, not a map
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      outline(canvas, ui.choice.x * canvas.width - 5, ui.choice.y * canvas.height - 5, 10, 10);
    }
    const likeliest = nets.map((net, n) => `${net} ${number(valueOf(maps[n].findLast((map) => map)))}`).join(", ");
    const same = new Set(top.map((classes) => classes[0][0])).size === 1;
    ui.say(`${percent(ui.choice.x)} from the left, ${percent(ui.choice.y)} from the top, in each net's last map: ${likeliest}. ` +
      (same ? `All ${nets.length} nets say “${top[0][0][0]}”.` : `The nets say ${nets.map((net, n) => `“${top[n][0][0]}” (${net})`).join(", ")}.`));
  }
  const table = () => ({
    caption: `Root mean square over the channels, ${percent(ui.choice.x)} from the left and ${percent(ui.choice.y)} from the top; then the likeliest class`,
    head: ["stride", ...nets],
    rows: [...strides.map((stride, k) => [String(stride), ...nets.map((_, n) => (maps[n][k] ? valueOf(maps[n][k]) : "–"))]),
      ["likeliest", ...top.map((classes) => `${classes[0][0]} ${percent(classes[0][1])}`)]],
  });
  return { draw, table };
}
