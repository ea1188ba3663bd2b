// Where one place of a map looks: the whole gradient, the local path alone, and what goes through the gates. Uses kit.js.

function view(ui) {
  const data = ui.data, [height, width] = data.map, [tall, wide] = data.size;
  const NAMES = ["Gates kept: whole gradient", "Gates held: local path only", "Difference: through the gates"];
  const known = new Map(data.places.map((place) => [place.at.join(), place]));
  ui.choice.row ??= data.at[0];
  ui.choice.column ??= data.at[1];
  // The gate path may be very faint: then the scale starts twice as deep.
  ui.choice.scale ??= extent(slice(data.places[0].logs, 2))[1] < -4 ? 12 : 6;

  const row = make(ui.body, "div", { class: "nw-row" });
  segments(row, "Scale", [[6, "six decades"], [12, "twelve decades"], [0, "gradient length, from zero"]], ui.choice.scale, (scale) => ui.choose({ scale }));
  segments(row, "Scale of", [["shared", "all three"], ["own", "each map"]], ui.choice.of ?? "shared", (of) => ui.choose({ of }));
  make(ui.body, "p", { class: "nw-note", style: "margin-bottom: 8px" },
    `Squared gradient of one place of ${data.block}'s map, by input pixel (all channels weighed at random${data.projections > 1 ? `, mean of ${data.projections}` : ""}). ` +
    "Dashed: the box that kernels and strides allow. A gate pools the whole map, so it feels pixels far outside of it.");

  const columns = make(ui.body, "div", { class: "nw-columns", style: "gap: 10px" });
  const first = make(columns, "div", { class: "nw-cell", style: "align-items: flex-start" });
  make(first, "span", {}, `Ask a place (${height} × ${width})`);
  const side = 256 / Math.max(tall, wide), zoom = side > 1 ? Math.floor(side) : side;
  const pick = pickable(first, Math.round(wide * zoom), Math.round(tall * zoom), height, width, {
    label: `The picture under the map of ${data.block}, ${height} by ${width} places`, leap: Math.max(2, height >> 2),
    at: () => [ui.choice.row, ui.choice.column], onPick: (r, column) => go(r, column),
  });
  const maps = NAMES.map((name) => {
    const cell = make(columns, "div", { class: "nw-cell", style: "align-items: flex-start" });
    make(cell, "span", {}, name);
    cell.style.maxWidth = `${Math.round(wide * zoom)}px`;
    return { name, canvas: picture(cell, Math.round(wide * zoom), Math.round(tall * zoom), name), note: make(cell, "p"), bar: make(cell, "div") };
  });
  const photo = new Image();
  photo.onload = () => drawPick();
  if (data.picture) photo.src = data.picture;

  /** Without a kernel only some places are known: the nearest of them in the direction one moves. */
  function go(r, column) {
    if (ui.live || known.has([r, column].join())) return ui.choose({ row: r, column });
    const [y, x] = [ui.choice.row, ui.choice.column], keyboard = Math.abs(r - y) + Math.abs(column - x) === 1;
    const ahead = [...known.values()].filter(({ at }) => !keyboard || (at[0] - y) * (r - y) + (at[1] - x) * (column - x) > 0);
    const far = ({ at }) => (at[0] - r) ** 2 + (at[1] - column) ** 2;
    const best = ahead.sort((a, b) => far(a) - far(b))[0];
    if (best) ui.choose({ row: best.at[0], column: best.at[1] });
  }

  let asking = null;
  function place() {
    const key = [ui.choice.row, ui.choice.column].join();
    if (!known.has(key) && ui.live && asking !== key) {
      asking = key;
      ui.ask({ at: [ui.choice.row, ui.choice.column] })?.then((answer) => {
        asking = null;
        if (answer) { known.set(answer.place.at.join(), answer.place); ui.choose({}); }
      });
    }
    return known.get(key);
  }

  function drawPick() {
    const context = pick.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.fillStyle = "#777";
    context.fillRect(0, 0, pick.width, pick.height);
    if (photo.complete && photo.naturalWidth) context.drawImage(photo, 0, 0, pick.width, pick.height);
    const w = pick.width / width, h = pick.height / height;
    if (!ui.live) { // the places that can be asked here
      context.fillStyle = "#ffffff";
      context.strokeStyle = "#000000";
      for (const { at } of known.values()) {
        context.beginPath();
        context.arc((at[1] + 0.5) * w, (at[0] + 0.5) * h, 3, 0, 7);
        context.fill();
        context.stroke();
      }
    }
    outline(pick, ui.choice.column * w + 1, ui.choice.row * h + 1, Math.max(w - 2, 3), Math.max(h - 2, 3));
  }

  function draw() {
    const it = place();
    drawPick();
    if (!it) return ui.say(`Asking the kernel about row ${ui.choice.row}, column ${ui.choice.column} …`);
    const [, rows, cells] = it.logs.shape, decades = ui.choice.scale, [top, left, bottom, right] = it.box;
    const values = NAMES.map((_, i) => slice(it.logs, i).map((log) => (decades ? log : log <= -11.9 ? 0 : 10 ** (log / 2))));
    const most = Math.max(...values.map((map) => extent(map)[1]));
    const unit = decades ? "(log₁₀ of the energy, the most is 0)" : "of the longest gradient";
    maps.forEach(({ canvas, note, bar, name }, i) => {
      const raw = extent(values[i]), high = ui.choice.of === "own" ? raw[1] : most;
      const scale = decades ? { low: high - decades, high, map: "sequential", raw } : { low: 0, high: high || 1, map: "sequential", raw };
      heat(canvas, values[i], rows, cells, scale);
      outline(canvas, left * zoom, top * zoom, (right - left) * zoom, (bottom - top) * zoom, { dash: [5, 4], ink: "#000000" });
      bar.replaceChildren();
      legend(bar, scale, unit);
      bar.firstChild.style.cssText = "flex-direction: column; align-items: flex-start; gap: 2px"; // they stand side by side
      note.textContent = `${share(it.outside[i])} of its energy outside; ${percent(it.reached[i], 1)} of the pixels felt`;
      canvas.setAttribute("aria-label", `${name}: ${note.textContent}.`);
    });
    ui.say(`Row ${ui.choice.row}, column ${ui.choice.column}: kernels and strides reach rows ${top} to ${bottom - 1}, columns ${left} to ${right - 1}, ${percent(it.box_share, 1)} of the picture. ` +
      `With gates kept, ${percent(it.reached[0], 1)} of the pixels are felt and ${share(it.outside[0])} of the energy lies outside of the box; with gates held, ${share(it.outside[1])}. Of the gate path's own energy, ${share(it.outside[2])} does.` +
      (ui.live ? "" : " In a page only the dotted places can be asked."));
  }
  /** Small shares are told with three digits, for none and a few in a million are not the same. */
  const share = (x) => (x === 0 ? "0 %" : x < 0.001 ? `${number(100 * x)} %` : percent(x, 1));

  function table() {
    const it = known.get([ui.choice.row, ui.choice.column].join());
    return {
      caption: `Energy of the gradient of row ${ui.choice.row}, column ${ui.choice.column} of ${data.block}`,
      head: ["path", "outside the box", "pixels felt"],
      rows: it ? NAMES.map((name, i) => [name, share(it.outside[i]), percent(it.reached[i], 1)]) : [],
    };
  }
  return { draw, table };
}
