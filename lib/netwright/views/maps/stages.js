// Maps of one picture, place by place: a grid of channels, one of them large beside the picture, and its numbers.
// ui.choice: place, channel, row, column, scale ("unit", "layer", "model"), order ("number", "mean", "energy").

const STYLE = `
.nw-stage-strip { display: flex; gap: 4px; overflow-x: auto; padding: 3px; }
.nw-view .nw-stage-strip button { flex: none; padding: 3px; display: flex; flex-direction: column; align-items: center; gap: 2px; font-size: 12px; }
.nw-stage-strip canvas { width: 46px; height: 46px; }
.nw-stage-grid { position: relative; flex: 1 1 430px; max-height: 520px; overflow-y: auto; display: flex; flex-wrap: wrap; gap: 8px; align-content: flex-start; padding: 3px; }
.nw-stage-group { border-top: 3px solid var(--nw-line); padding-top: 2px; font-size: 12px; color: var(--nw-soft); max-width: 100%; }
.nw-stage-group > div { display: flex; flex-wrap: wrap; gap: 4px; }
.nw-view .nw-stage-grid button { padding: 2px; display: flex; flex-direction: column; align-items: center; font-size: 12px; line-height: 1.2; background: none; border: 2px solid transparent; }
.nw-view .nw-stage-grid button[aria-pressed="true"] { border-color: var(--nw-strong); background: var(--nw-raised); color: var(--nw-ink); }
.nw-stage-grid canvas { width: 62px; }
.nw-stage-side { flex: 0 1 548px; }
.nw-view .nw-stage-large { width: 320px; }
.nw-stage-picture { width: 200px; }
`;
const SCALES = [["unit", "Unit"], ["layer", "Layer"], ["model", "Model"]];
const SCALE_WORDS = { unit: "each map on its own scale: colours cannot be compared between maps", layer: "one scale for all channels of this place", model: "one scale for all places of the net" };

function view(ui) {
  const data = ui.data;
  const entries = new Map(data.places.map((entry) => [entry.name, entry]));
  make(ui.body, "style", {}, STYLE);
  ui.choice.scale ??= "layer";
  ui.choice.order ??= "number";
  if (!entries.has(ui.choice.place)) ui.choice.place = data.start;

  // The numbers of a place, out of their two bytes --------------------------------------------------------------------
  function unpack({ values, unit }) {
    const array = values.map((v) => v * unit);
    array.shape = values.shape;
    return array;
  }
  function open(entry) {
    if (entry.at) return entry;
    entry.at = new Map();
    addChannels(entry, entry.channels);
    return entry;
  }
  function addChannels(entry, { numbers, maps, mean, energy }) {
    const all = unpack(maps);
    numbers.forEach((channel, i) => entry.at.set(channel, { channel, values: slice(all, i), mean: mean[i], energy: energy[i] }));
  }
  const now = () => open(entries.get(ui.choice.place));
  const groupSize = (entry) => entry.shape[0] / entry.group.count;
  const groupOf = (entry, channel) => (entry.group ? `${entry.group.kind} ${Math.floor(channel / groupSize(entry))}` : "");
  const isSigned = () => (ui.choice.scale === "model" ? data.low < 0 : now().low < 0);
  function scaleOf(values) {
    const ends = { unit: () => extent(values), layer: () => [now().low, now().high], model: () => [data.low, data.high] }[ui.choice.scale]();
    return limits(ends, isSigned());
  }
  function sorted(entry) {
    const channels = [...entry.at.values()];
    const by = ui.choice.order;
    return channels.sort((a, b) => (by === "number" ? a.channel - b.channel : b[by] - a[by]) || a.channel - b.channel);
  }
  /** The chosen channel and pixel, or where the place has none such, its strongest channel and its middle. */
  function settle() {
    const entry = now(), [, height, width] = entry.shape;
    if (!entry.at.has(ui.choice.channel)) ui.choice.channel = entry.top.map(([channel]) => channel).find((channel) => entry.at.has(channel)) ?? sorted(entry)[0].channel;
    const inside = (value, size) => (Number.isInteger(value) ? Math.min(value, size - 1) : Math.floor(size / 2));
    ui.choice.row = inside(ui.choice.row, height);
    ui.choice.column = inside(ui.choice.column, width);
  }
  function go(place) {
    if (place === ui.choice.place) return;
    const [, height, width] = now().shape, [, tall, wide] = entries.get(place).shape;
    ui.choose({ place, channel: null, // the pixel stays at the same part of the picture
      row: Math.floor(((ui.choice.row + 0.5) * tall) / height), column: Math.floor(((ui.choice.column + 0.5) * wide) / width) });
  }
  async function fetchPlace(name) {
    if (!entries.has(name)) {
      ui.say(`Fetching the maps of ${name} …`);
      const answer = await ui.ask({ ask: "place", place: name });
      if (!answer) return;
      entries.set(name, answer.entry);
      rows();
    }
    go(name);
  }

  // Where ---------------------------------------------------------------------------------------------------------------
  const strip = make(ui.body, "div", { class: "nw-stage-strip", role: "group", "aria-label": "Blocks, in their order; each picture is the root mean square over its channels" });
  const thumbs = new Map();
  function rows() {
    strip.replaceChildren();
    thumbs.clear();
    for (const entry of entries.values()) {
      if (entry.part) continue;
      const thumb = button(strip, "", () => go(entry.name), { title: `${entry.name}: ${entry.shape.join(" × ")}` });
      const canvas = make(thumb, "canvas", { width: entry.shape[2], height: entry.shape[1], "aria-hidden": "true" });
      thumb.append(entry.name.replace("stages.", ""));
      thumb.setAttribute("aria-label", entry.name);
      thumbs.set(entry.name, { thumb, canvas });
    }
  }
  rows();
  const where = make(ui.body, "div", { class: "nw-row", style: "margin-top: 8px" });
  const partBox = make(where, "span", { style: "display: contents" });
  if (ui.live) menu(where, "Any module", [["", "choose …"], ...data.modules.map((name) => [name, name])], "", (name) => name && fetchPlace(name));
  const how = make(ui.body, "div", { class: "nw-row" });
  const scales = segments(how, "Colour scale", SCALES, ui.choice.scale, (scale) => ui.choose({ scale }));
  const orders = segments(how, "Sort by", [["number", "channel"], ["mean", "mean"], ["energy", "energy"]], ui.choice.order, (order) => ui.choose({ order }));
  const bar = legend(how, { low: 0, high: 1, map: "sequential", raw: [0, 1] }, "(activation)");
  const note = make(ui.body, "p", { class: "nw-note" });
  const columns = make(ui.body, "div", { class: "nw-columns", style: "margin-top: 8px" });
  const grid = make(columns, "div", { class: "nw-stage-grid", role: "group", "aria-label": "Channels" });
  const side = make(columns, "div", { class: "nw-stage-side" });
  const pair = make(side, "div", { class: "nw-columns" });
  const large = make(pair, "div", { class: "nw-cell" });
  const beside = make(pair, "div", { class: "nw-cell nw-stage-picture" });
  const picture = data.picture && makePicture();
  const facts = make(beside, "p", {});
  make(side, "p", { class: "nw-note", style: "margin-top: 8px" }, "Most active channels, by their mean over the map");
  const top = bars(side, { label: "Most active channels", unit: "", sortable: false, onPick: (channel) => ui.choose({ channel }) });

  function makePicture() {
    const canvas = make(beside, "canvas", { width: 200, height: 200, role: "img", "aria-label": "The picture as the net received it; outlined, where the chosen number lies" });
    const image = new Image();
    image.onload = () => { canvas.height = Math.round((200 * image.naturalHeight) / image.naturalWidth); mark(); };
    image.src = data.picture;
    return { canvas, image };
  }
  function mark() {
    if (!picture?.image.complete) return;
    const { canvas, image } = picture, [, height, width] = now().shape;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = true; // a photograph, not a map
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const [wide, tall] = [canvas.width / width, canvas.height / height];
    outline(canvas, ui.choice.column * wide, ui.choice.row * tall, wide, tall);
  }

  // The grid ------------------------------------------------------------------------------------------------------------
  let built = "", cells = new Map(), pick = null, parts = "";
  function build() {
    const entry = now(), channels = sorted(entry), grouped = entry.group && ui.choice.order === "number";
    const wanted = [entry.name, ui.choice.order, channels.length].join("|");
    if (wanted === built) return;
    built = wanted;
    const held = grid.contains(document.activeElement);
    grid.replaceChildren();
    cells = new Map();
    let box = null, title = null;
    for (const it of channels) {
      const group = groupOf(entry, it.channel);
      if (box === null || (grouped && group !== title)) {
        const run = make(grid, "div", grouped ? { class: "nw-stage-group", role: "group", "aria-label": group } : { class: "nw-stage-group", style: "border: 0" }, grouped ? group : "");
        box = make(run, "div");
        title = group;
      }
      const cell = button(box, "", () => ui.choose({ channel: it.channel }), { tabindex: -1, "data-channel": it.channel });
      const [least, most] = extent(it.values);
      const flat = least === most ? `, uniform` : "";
      cell.setAttribute("aria-label", `Channel ${it.channel}${group && `, ${group}`}, mean ${number(it.mean)}${flat}`);
      cell.title = `channel ${it.channel}${group && `, ${group}`}: mean ${number(it.mean)}, ${number(least)} to ${number(most)}${flat}`;
      const canvas = make(cell, "canvas", { width: entry.shape[2], height: entry.shape[1], "aria-hidden": "true" });
      make(cell, "span", {}, ui.choice.order === "number" ? String(it.channel) : `${it.channel}: ${number(it[ui.choice.order], 2)}`);
      if (flat) make(cell, "span", {}, "uniform");
      cells.set(it.channel, { cell, canvas, values: it.values });
    }
    if (ui.live && channels.length < entry.shape[0]) {
      button(grid, `Show ${Math.min(64, entry.shape[0] - channels.length)} more`, async () => {
        const answer = await ui.ask({ ask: "more", place: entry.name, have: entry.at.size });
        if (answer) { addChannels(entry, answer.channels); ui.choose({}); }
      }, { class: "nw-stage-more" });
    }
    if (held) cells.get(ui.choice.channel)?.cell.focus({ preventScroll: true });
  }
  grid.addEventListener("keydown", (event) => {
    const from = document.activeElement, all = [...cells.values()].map(({ cell }) => cell), at = all.indexOf(from);
    if (at < 0 || !event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
    const box = from.getBoundingClientRect();
    const below = (cell) => { const other = cell.getBoundingClientRect(); return [other.top - box.top, Math.abs(other.left - box.left)]; };
    const down = event.key === "ArrowDown" ? 1 : -1; // the nearest in the next row of cells
    const next = { ArrowRight: () => all[at + 1], ArrowLeft: () => all[at - 1] }[event.key] ?? (() =>
      all.filter((cell) => down * below(cell)[0] > 10).sort((a, b) => down * (below(a)[0] - below(b)[0]) || below(a)[1] - below(b)[1])[0]);
    const to = next();
    if (!to) return;
    ui.choose({ channel: Number(to.dataset.channel) });
    to.focus();
  });

  function choosePart() {
    const entry = now();
    const here = [...entries.values()].filter((it) => it.block === entry.block).sort((a, b) => (a.part === "") - (b.part === ""));
    const wanted = here.map((it) => it.name).join();
    if (wanted !== parts) {
      parts = wanted;
      partBox.replaceChildren();
      if (here.length > 1) partBox.parts = segments(partBox, `Inside ${entry.block}`, here.map((it) => [it.name, it.part.replace("middle.attention.norm", "splits, before ReLU") || "whole block"]), entry.name, go);
    }
    if (here.length > 1) partBox.parts.value = entry.name;
    for (const [name, { thumb }] of thumbs) thumb.setAttribute("aria-pressed", String(name === entry.block));
  }
  function drawStrip() {
    const maps = [...thumbs].filter(([name]) => entries.get(name).rms);
    for (const [name] of maps) entries.get(name).rmsMap ??= unpack(entries.get(name).rms);
    const most = Math.max(...maps.map(([name]) => extent(entries.get(name).rmsMap)[1]));
    for (const [name, { canvas }] of maps) {
      const { rmsMap, shape } = entries.get(name);
      heat(canvas, rmsMap, shape[1], shape[2], limits(ui.choice.scale === "model" ? [0, most] : rmsMap, false));
    }
  }

  let painted = "", stripped = "";
  function draw() {
    settle();
    const entry = now(), { row, column, channel } = ui.choice, [count, height, width] = entry.shape;
    scales.value = ui.choice.scale;
    orders.value = ui.choice.order;
    choosePart();
    build();
    if (stripped !== `${ui.choice.scale} ${thumbs.size}`) {
      stripped = `${ui.choice.scale} ${thumbs.size}`;
      drawStrip();
    }
    const chosen = entry.at.get(channel), wanted = [built, ui.choice.scale].join("|");
    if (wanted !== painted) {
      painted = wanted;
      for (const { canvas, values } of cells.values()) heat(canvas, values, height, width, scaleOf(values));
      const share = entry.at.size === count ? `all ${count} channels` : `${entry.at.size} of ${count} channels${ui.live ? "" : " in this page"}, the ${entry.top.length} of highest mean and the strongest${entry.group ? ` of each ${entry.group.kind}` : ""}`;
      note.textContent = `${entry.name}: ${height} × ${width} = ${(height * width).toLocaleString("en")} numbers a channel; ${share}` +
        `${entry.group ? `, in ${entry.group.count} ${entry.group.kind}s of ${groupSize(entry)}` : ""}; dead (nowhere above 0): ${percent(entry.dead, 1)} of all. ` +
        `Colours: ${SCALE_WORDS[ui.choice.scale]}.`;
      top.draw(entry.top.map(([number_, value]) => ({ key: number_, value, label: `channel ${number_}` })), channel);
    }
    for (const [number_, { cell }] of cells) {
      cell.setAttribute("aria-pressed", String(number_ === channel));
      cell.tabIndex = number_ === channel ? 0 : -1;
    }
    top.chosen = channel;
    const cell = cells.get(channel).cell, high = cell.offsetTop; // in the grid, which is positioned
    if (high < grid.scrollTop) grid.scrollTop = high - 20;
    if (high + cell.offsetHeight > grid.scrollTop + grid.clientHeight) grid.scrollTop = high + cell.offsetHeight - grid.clientHeight + 4;
    const scale = scaleOf(chosen.values);
    bar.draw(scale);
    const size = `${height}x${width}`;
    if (pick?.size !== size) {
      large.replaceChildren();
      const cell = Math.max(1, Math.floor(320 / Math.max(width, height)));
      const canvas = pickable(large, cell * width, cell * height, height, width, { label: "One channel, large: arrow keys move over its numbers",
        at: () => [ui.choice.row, ui.choice.column], onPick: (r, c) => ui.choose({ row: r, column: c }), leap: Math.max(2, Math.round(width / 8)) });
      canvas.classList.add("nw-stage-large");
      pick = { size, cell, canvas };
    }
    heat(pick.canvas, chosen.values, height, width, scale);
    outline(pick.canvas, column * pick.cell, row * pick.cell, pick.cell, pick.cell, { line: Math.min(2, Math.max(1, pick.cell / 5)) });
    mark();
    const [least, most] = extent(chosen.values), where = chosen.values.indexOf(most), read = isSigned() ? signed : number;
    const value = chosen.values[row * width + column], group = groupOf(entry, channel);
    facts.textContent = `Channel ${channel}${group && `, ${group}`}: ${least === most ? `uniform, ${read(least)} everywhere` : `${read(least)} to ${read(most)}, largest at row ${Math.floor(where / width)}, column ${where % width}; mean ${read(chosen.mean)}, root mean square ${number(chosen.energy)}`}. ` +
      `The outline is where the number lies, not all that it sees.`;
    ui.say(`${entry.name}, channel ${channel}${group && ` (${group})`}, row ${row}, column ${column}: ${read(value)}.`);
  }
  const table = () => ({
    caption: `${now().name}: the channels shown, and their numbers at row ${ui.choice.row}, column ${ui.choice.column}`,
    head: ["channel", now().group?.kind ?? "part", "mean", "root mean square", "lowest", "highest", "here"],
    rows: sorted(now()).map(({ channel, values, mean, energy }) => [String(channel), groupOf(now(), channel) || "–", mean, energy, ...extent(values), values[ui.choice.row * now().shape[2] + ui.choice.column]]),
  });
  return { draw, table };
}
