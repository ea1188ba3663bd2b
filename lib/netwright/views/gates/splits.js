// One channel of a split attention: its splits, their difference, and the output as a fixed average plus what attention
// adds. All but the splits and gates is computed here. Uses kit.js.

function view(ui) {
  const SUB = "₀₁₂₃₄₅₆₇₈₉";
  let data = ui.data;
  ui.choice.at ??= 0; // which channel, in the order of what attention adds
  ui.choice.scale ??= "channel";
  if (ui.choice.block && ui.choice.block !== data.block && !ui.live) delete ui.choice.block;

  const row = make(ui.body, "div", { class: "nw-row" });
  if (ui.live) menu(row, "Layer", data.blocks.map((name) => [name, name]), ui.choice.block ?? data.block, (block) => ui.choose({ block, at: 0, row: null, column: null }));
  const controls = make(row, "span", { class: "nw-row", style: "margin: 0" });
  segments(row, "Colour scale of", [["channel", "this channel"], ["layer", "the whole layer"]], ui.choice.scale, (scale) => ui.choose({ scale }));
  const note = make(ui.body, "p", { class: "nw-note", style: "margin-bottom: 8px" });
  const places = make(ui.body, "div");
  const bar = legend(ui.body, { low: -1, high: 1, map: "diverging", raw: [0, 0] }, "activation");
  let canvases = [], built = null, maps = [], picture = null, zoom = 1;

  function build() {
    built = data;
    controls.replaceChildren();
    places.replaceChildren();
    const [, radix, height, width] = data.splits.shape;
    ui.choice.at = Math.min(ui.choice.at, data.channels.length - 1);
    ui.choice.row = Math.min(ui.choice.row ?? height >> 1, height - 1);
    ui.choice.column = Math.min(ui.choice.column ?? width >> 1, width - 1);
    slider(controls, "Channel (most added first)", Array.from(data.channels, (_, i) => i), ui.choice.at, (at) => ui.choose({ at }), (at) => `${data.channels[at]}`);
    zoom = Math.max(1, Math.floor(176 / Math.max(height, width)));
    const names = Array.from({ length: radix }, (_, r) => `U${SUB[r]}, split ${r}`);
    if (radix === 2) names.push("U₀ − U₁");
    const made = radix === 2 ? ["½(U₀ + U₁), fixed average", "d (U₀ − U₁), attention adds"]
      : radix === 1 ? ["½U, fixed", "(a − ½)U, the gate adds"] : [`ΣU / ${radix}, fixed average`, `Σ(a − 1/${radix})U, attention adds`];
    const lines = [names, [...made, "output, their sum"]];
    canvases = [];
    for (const [i, line] of lines.entries()) {
      const box = make(places, "div", { class: "nw-columns", style: "margin-bottom: 8px" });
      if (i === 1 && radix === 2) box.style.marginTop = "4px";
      for (const name of line) {
        const cell = make(box, "div", { class: "nw-cell", style: "align-items: flex-start" });
        make(cell, "span", {}, name);
        canvases.push(pickable(cell, width * zoom, height * zoom, height, width, {
          label: `${name}: a map of ${height} by ${width}`, at: () => [ui.choice.row, ui.choice.column],
          onPick: (r, column) => ui.choose({ row: r, column }),
        }));
      }
      if (i === 0 && ui.data.picture) {
        const cell = make(box, "div", { class: "nw-cell", style: "align-items: flex-start" });
        make(cell, "span", {}, "the picture, and the cell");
        picture = make(cell, "canvas", { width: 176, height: 176, role: "img", "aria-label": "The picture, with the chosen cell outlined." });
      }
    }
  }

  const photo = new Image();
  photo.onload = () => drawPicture();
  if (ui.data.picture) photo.src = ui.data.picture;
  function drawPicture() {
    if (!picture || !photo.complete || !photo.naturalWidth) return;
    const [, , height, width] = data.splits.shape, context = picture.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(photo, 0, 0, picture.width, picture.height);
    const w = picture.width / width, h = picture.height / height;
    outline(picture, ui.choice.column * w + 1, ui.choice.row * h + 1, w - 2, h - 2);
  }

  /** Splits, (their difference,) fixed average, what is added, output. */
  function compute() {
    const radix = data.radix, at = ui.choice.at, even = 1 / Math.max(radix, 2);
    const splits = Array.from({ length: radix }, (_, r) => slice(data.splits, at, r));
    const gates = slice(data.gates, at);
    const sum = (weight) => splits[0].map((_, p) => splits.reduce((total, split, r) => total + weight(r) * split[p], 0));
    const rest = [sum(() => even), sum((r) => gates[r] - even), sum((r) => gates[r])];
    return radix === 2 ? [...splits, sum((r) => 1 - 2 * r), ...rest] : [...splits, ...rest];
  }

  function draw() {
    const block = ui.choice.block ?? ui.data.block;
    if (block !== data.block) {
      if (block === ui.data.block) data = ui.data;
      else {
        ui.ask({ block })?.then((answer) => { if (answer) { data = answer.layer; ui.choose({}); } });
        ui.say(`Looking at ${block} …`);
        return;
      }
    }
    if (built !== data) build();
    const { at, row: y, column: x } = ui.choice, [, radix, height, width] = data.splits.shape;
    maps = compute();
    const raw = extent(maps.flatMap((map) => [...extent(map)]));
    const reach = ui.choice.scale === "layer" ? data.reach : Math.max(Math.abs(raw[0]), Math.abs(raw[1]));
    const scale = { low: -reach, high: reach, map: "diverging", raw };
    maps.forEach((map, i) => {
      heat(canvases[i], map, height, width, scale);
      outline(canvases[i], x * zoom + 1, y * zoom + 1, Math.max(zoom - 2, 1), Math.max(zoom - 2, 1));
    });
    bar.draw(scale);
    drawPicture();
    const cell = y * width + x, gates = [...slice(data.gates, at)], reads = slice(data.reads, at);
    const parts = Array.from({ length: radix }, (_, r) => `split ${r} reads ${reads[2 * r]} to ${reads[2 * r + 1]}`);
    note.textContent = `${data.block}: radix ${radix}, cardinality ${data.cardinality}; the convolution has ${data.groups} group${data.groups > 1 ? "s" : ""}. ` +
      `Of its ${data.in_channels} input channels, for this channel ${parts.join(", ")}.` +
      (data.all > data.channels.length ? ` Here are the ${data.channels.length} of ${data.all} channels to which attention adds most.` : "");
    const values = Array.from({ length: radix }, (_, r) => `U${SUB[r]} ${number(maps[r][cell])}`);
    const gate = radix === 1 ? `gate ${number(gates[0])} (a sigmoid)` : `gates ${gates.map((g) => number(g)).join(", ")}${radix === 2 ? ` (d ${signed((gates[0] - gates[1]) / 2)})` : ""}`;
    const [fixed, added, out] = maps.slice(-3).map((map) => map[cell]);
    ui.say(`Channel ${data.channels[at]} at row ${y}, column ${x}: ${values.join(", ")}; ${gate}. Output ${number(out)} = ${number(fixed)} fixed ${added < 0 ? MINUS : "+"} ${number(Math.abs(added))} by attention.`);
  }

  function table() {
    const cell = ui.choice.row * data.splits.shape[3] + ui.choice.column, { at } = ui.choice, radix = data.radix;
    const rest = maps.slice(-3), gates = slice(data.gates, at);
    return {
      caption: `${data.block}, channel ${data.channels[at]}, row ${ui.choice.row}, column ${ui.choice.column}`,
      head: ["map", "here", "least", "most", "gate", "input channels"],
      rows: [
        ...Array.from({ length: radix }, (_, r) => [`U${SUB[r]}`, maps[r][cell], ...extent(maps[r]), gates[r], `${data.reads[(at * radix + r) * 2]} to ${data.reads[(at * radix + r) * 2 + 1]}`]),
        ...["fixed average", "attention adds", "output"].map((name, i) => [name, rest[i][cell], ...extent(rest[i]), "", ""]),
      ],
    };
  }
  return { draw, table };
}
