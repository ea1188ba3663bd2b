// Receptive field of a picked cell: its box over the picture, and the energy with which every pixel moves the cell.

function view(ui) {
  const { places, size, bin, first, stored } = ui.data;
  const [high, wide] = [Math.ceil(size[0] / bin), Math.ceil(size[1] / bin)]; // squares of an energy map
  const side = 320, height = Math.round((side * size[0]) / size[1]);
  const DRAWS = 16; // of random weights of the channels; live, they come one after another
  const fields = new Map(); // "place/row/column" -> { whole, local: shares of the energy, sums, draws }

  keep(first.place, first.row, first.column, first, ui.data.draws);
  for (const it of stored ?? []) {
    it.rows.forEach((row, i) => it.columns.forEach((column, j) => {
      const at = i * it.columns.length + j, key = `${it.place}/${row}/${column}`;
      if (it.place === first.place && row === first.row && column === first.column) return;
      fields.set(key, { ...(fields.get(key) ?? { draws: it.draws }), [it.path]: slice(it.roots, at).map((x) => x * x), [`${it.path}Sum`]: it.sums[at] });
    }));
  }
  /** Energies of some draws join those that are there. */
  function keep(place, row, column, found, draws) {
    const key = `${place}/${row}/${column}`, old = fields.get(key), now = { draws: (old?.draws ?? 0) + draws };
    for (const path of ["whole", "local"]) {
      if (!found[path]) continue;
      const before = old ? old.draws * old[`${path}Sum`] : 0;
      const sum = found[path].reduce((a, b) => a + b, 0) * draws + before;
      now[path] = found[path].map((x, i) => (x * draws + (old ? old[path][i] * before : 0)) / (sum || 1));
      now[`${path}Sum`] = sum / now.draws;
    }
    fields.set(key, now);
  }

  for (const [name, value] of Object.entries({ place: first.place, row: first.row, column: first.column, draw: "root", scale: "all" })) ui.choice[name] ??= value;
  // Without a kernel, only the cells that are stored can be picked; of a place that is not stored, none.
  const cellsOf = (place) => {
    const it = ui.live ? null : stored?.find((other) => other.place === place);
    const [rows, columns] = places[place].shape;
    const all = (count) => Array.from({ length: count }, (_, i) => i);
    return it ? { rows: it.rows, columns: it.columns } : { rows: all(rows), columns: all(columns) };
  };
  const offered = places.map((it, i) => [i, `${it.name}, ${it.shape.join(" × ")}`]).filter(([i]) => ui.live || i === first.place || stored?.some((it) => it.place === i));

  const controls = make(ui.body, "div", { class: "nw-row" });
  const placeMenu = menu(controls, "Map", offered, ui.choice.place, (place) => { const c = cellsOf(place); pick(place, middle(c.rows), middle(c.columns)); });
  const draws = segments(controls, "Show", [["root", "root of the energy"], ["energy", "energy"]], ui.choice.draw, (draw) => ui.choose({ draw }));
  const scales = segments(controls, "Scale", [["all", "one for all cells seen"], ["this", "this cell"]], ui.choice.scale, (scale) => ui.choose({ scale }));
  const middle = (list) => list[Math.floor(list.length / 2)];

  const panes = make(ui.body, "div", { class: "nw-columns" });
  const pixels = `width: ${side}px`;
  const left = make(panes, "div", { class: "nw-cell", style: pixels });
  make(left, "strong", {}, "The picture: pick a cell of the map");
  const holder = make(left, "div");
  let canvas = null, grid = null;
  const hasGates = places.some((it) => it.extent);
  const paths = hasGates ? ["whole", "local"] : ["whole"];
  const maps = Object.fromEntries(paths.map((path) => {
    const pane = make(panes, "div", { class: "nw-cell", style: pixels });
    make(pane, "strong", {}, hasGates ? (path === "whole" ? "Energy, whole net" : "Energy, local path: gates held") : "Energy");
    return [path, { pane, canvas: picture(pane, side, height, "energy"), words: make(pane, "p") }];
  }));
  const square = bin === 1 ? "in a pixel" : `in a square of ${bin} × ${bin} pixels`;
  const units = { root: `(root of the share of all energy, ${square})`, energy: `(share of all energy, ${square})` };
  const barsOf = Object.fromEntries(Object.entries(units).map(([name, unit]) => {
    const box = make(ui.body, "div");
    return [name, { box, bar: legend(box, limits([0, 1], false), unit) }];
  }));
  const key = make(ui.body, "p", { class: "nw-note" });
  key.textContent = "Solid black: the cell. Dashed orange: its box, all that the local path can see. Solid white: the fewest squares with half of the energy; dotted white: with 90 %.";

  const photo = new Image();
  photo.onload = () => draw();
  photo.src = ui.data.picture;

  function pick(place, row, column) {
    ui.choose({ place, row, column });
    if (ui.live) refine(place, row, column);
  }
  /** Ask for further draws until there are enough, as long as this cell is the chosen one. */
  async function refine(place, row, column) {
    const chosen = () => ui.choice.place === place && ui.choice.row === row && ui.choice.column === column;
    for (;;) {
      const done = fields.get(`${place}/${row}/${column}`)?.draws ?? 0;
      if (done >= DRAWS || !chosen()) return;
      const found = await ui.ask({ place, row, column, start: done });
      if (!found) return;
      keep(place, row, column, found, found.draws);
      if (chosen()) redraw();
    }
  }
  const redraw = () => ui.choose({});

  /** The canvas over which cells are picked: as many as can be picked here. */
  function stand() {
    const cells = cellsOf(ui.choice.place), mark = `${cells.rows}|${cells.columns}`;
    if (grid === mark) return;
    grid = mark;
    const nearest = (list, value) => list.reduce((best, it, i) => (Math.abs(it - value) < Math.abs(list[best] - value) ? i : best), 0);
    holder.replaceChildren();
    canvas = pickable(holder, side, height, cells.rows.length, cells.columns.length, {
      label: "the picture", leap: 4,
      at: () => [nearest(cells.rows, ui.choice.row), nearest(cells.columns, ui.choice.column)],
      onPick: (i, j) => pick(ui.choice.place, cells.rows[i], cells.columns[j]),
    });
  }

  /** The fewest squares that hold a share of the energy, as a mask. */
  function contour(field, share) {
    const order = Array.from(field.keys()).sort((a, b) => field[b] - field[a] || a - b);
    const mask = new Uint8Array(field.length), total = field.reduce((a, b) => a + b, 0);
    let sum = 0, count = 0;
    for (const i of order) {
      mask[i] = 1;
      count++;
      sum += field[i];
      if (sum >= share * total) break;
    }
    return { mask, pixels: count * bin * bin };
  }
  function borders(on, mask, dash, ink) {
    const context = on.getContext("2d"), step = on.width / (wide * bin / size[1]) / wide;
    const is = (y, x) => (y >= 0 && x >= 0 && y < high && x < wide ? mask[y * wide + x] : 0);
    context.save();
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.setLineDash(dash);
    context.beginPath();
    for (let y = 0; y <= high; y++) for (let x = 0; x <= wide; x++) {
      if (is(y, x) !== is(y - 1, x)) { context.moveTo(x * step, y * step); context.lineTo((x + 1) * step, y * step); }
      if (is(y, x) !== is(y, x - 1)) { context.moveTo(x * step, y * step); context.lineTo(x * step, (y + 1) * step); }
    }
    context.stroke();
    context.restore();
  }
  function frame(on, [y0, y1, x0, x1]) {
    const [sy, sx] = [on.height / size[0], on.width / size[1]];
    outline(on, Math.max(2, x0 * sx), Math.max(2, y0 * sy), Math.min(on.width - 4, (x1 + 1 - x0) * sx), Math.min(on.height - 4, (y1 + 1 - y0) * sy), { dash: [8, 5] });
  }
  const boxOf = (it, row, column) => [it.rows[2 * row], it.rows[2 * row + 1], it.columns[2 * column], it.columns[2 * column + 1]];
  const chosen = () => fields.get(`${ui.choice.place}/${ui.choice.row}/${ui.choice.column}`);

  /** How the energy of a path lies: squares for half and most of it, and what is outside of the box. */
  function measure(field, box) {
    let outside = 0;
    for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
      const [top, start] = [y * bin, x * bin];
      if (top > box[1] || top + bin <= box[0] || start > box[3] || start + bin <= box[2]) outside += field[y * wide + x];
    }
    return { half: contour(field, 0.5), most: contour(field, 0.9), outside };
  }

  function draw() {
    const { place, row, column } = ui.choice, it = places[place], [rows, columns] = it.shape;
    stand();
    placeMenu.value = place;
    [draws.value, scales.value] = [ui.choice.draw, ui.choice.scale];
    const box = boxOf(it, row, column), field = chosen();
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (photo.complete) context.drawImage(photo, 0, 0, canvas.width, canvas.height);
    frame(canvas, box);
    const [cw, ch] = [canvas.width / columns, canvas.height / rows];
    outline(canvas, column * cw + 1, row * ch + 1, cw - 2, ch - 2, { ink: "#000000" });
    canvas.setAttribute("aria-label", `The picture, with the box of the cell in row ${row}, column ${column} of ${it.name}. Arrow keys pick a cell.`);

    const shape = (value) => (ui.choice.draw === "root" ? Math.sqrt(value) : value);
    const shown = field ? paths.filter((path) => field[path]).map((path) => field[path].map(shape)) : [];
    const everything = ui.choice.scale === "all" ? [...fields.values()].flatMap((f) => paths.filter((p) => f[p]).map((p) => shape(extent(f[p])[1]))) : [];
    const scale = { ...limits(shown.flatMap((values) => [...values]), false) };
    scale.high = Math.max(scale.high, ...everything);
    for (const [name, { box: there, bar }] of Object.entries(barsOf)) {
      there.hidden = name !== ui.choice.draw;
      bar.draw(scale);
    }
    const facts = {};
    for (const path of paths) {
      const pane = maps[path];
      pane.pane.hidden = path === "local" && !it.extent;
      if (!field?.[path]) {
        pane.canvas.getContext("2d").clearRect(0, 0, side, height);
        pane.words.textContent = ui.live ? "Asking the kernel …" : "";
        continue;
      }
      const width = (canvas.width * wide * bin) / size[1], tall = (canvas.height * high * bin) / size[0];
      heat(pane.canvas, field[path].map(shape), high, wide, scale, 0, 0, width, tall);
      const m = (facts[path] = measure(field[path], box));
      borders(pane.canvas, m.half.mask, [], "#ffffff");
      borders(pane.canvas, m.most.mask, [2, 3], "#ffffff");
      frame(pane.canvas, box);
      pane.words.textContent = `Half of it in ${m.half.pixels} pixels, 90 % in ${m.most.pixels}; ${fine(m.outside)} outside of the box.`;
      pane.canvas.setAttribute("aria-label", `Energy of each pixel. ${pane.words.textContent}`);
    }
    say(it, box, field, facts);
  }

  const fine = (share) => percent(share, share < 0.01 ? 2 : share < 0.1 ? 1 : 0);
  function say(it, box, field, facts) {
    const area = (box[1] - box[0] + 1) * (box[3] - box[2] + 1);
    let text = `${it.name}, cell in row ${ui.choice.row}, column ${ui.choice.column}: box of ${box[1] - box[0] + 1} × ${box[3] - box[2] + 1} pixels ` +
      `(rows ${box[0]} to ${box[1]}, columns ${box[2]} to ${box[3]}), ${percent(area / (size[0] * size[1]))} of the picture, ${it.status}.`;
    const main = facts.local && it.extent ? facts.local : facts.whole;
    if (main) text += ` Half of the ${it.extent ? "local path's " : ""}energy lies in ${main.half.pixels} pixels, ${fine(main.half.pixels / area)} of the box; 90 % in ${main.most.pixels}.`;
    if (it.extent && facts.whole) text += ` Through gates it sees everything: ${fine(facts.whole.outside)} of the whole net's energy lies outside of the box.`;
    const pictures = ui.data.pictures > 1 ? `, mean over ${ui.data.pictures} pictures` : "";
    if (field) text += ` ${field.draws} draw${field.draws > 1 ? "s" : ""}${pictures}.`;
    ui.say(text);
  }

  function table() {
    const { place, row, column } = ui.choice, it = places[place], box = boxOf(it, row, column), field = chosen();
    const lines = field ? paths.filter((path) => field[path]).map((path) => {
      const m = measure(field[path], box);
      return [path === "local" ? "local path" : "whole net", field[`${path}Sum`], m.half.pixels, m.most.pixels, percent(m.outside, 2)];
    }) : [];
    return {
      caption: `${it.name}, cell in row ${row}, column ${column}; box: rows ${box[0]} to ${box[1]}, columns ${box[2]} to ${box[3]}; ${it.status}`,
      head: ["path", "energy", "pixels with 50 %", "pixels with 90 %", "outside of the box"], rows: lines,
    };
  }
  if (ui.live) refine(ui.choice.place, ui.choice.row, ui.choice.column);
  return { draw, table };
}
