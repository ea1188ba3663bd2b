// The HaloNet query explorer: the page attends itself, from queries, keys and tables. Uses kit.js and paint.js.

const MODES = {
  attention: { text: "attention", unit: "share of the attention", signs: false },
  content: { text: "content", unit: "logit from content", signs: true },
  position: { text: "position", unit: "logit from position", signs: true },
  "value-weighted": { text: "value-weighted", unit: "weight × length of the value", signs: false },
};
const MASSES = [["own block", "background:#0072b2"], ["halo ring", "background:#e69f00"],
  ["padding", "background:repeating-linear-gradient(135deg,#8a8f98 0 2px,#d8dbe0 2px 6px)"]];

/** Numbers from whole levels: 8 bits, and 4 more where there are some; a step for each head and channel. */
function unpack(packed) {
  if (packed.numbers) return packed.numbers;
  const { high, low, step, shape } = packed, dim = shape[3], perHead = shape[1] * shape[2] * dim;
  const whole = low ? (i) => 16 * high[i] + ((low[i >> 1] >> (4 * (i & 1))) & 15) : (i) => high[i];
  packed.numbers = Float32Array.from(high, (_, i) => whole(i) * step[Math.floor(i / perHead) * dim + (i % dim)]);
  return packed.numbers;
}

function dot(a, i, b, j, length) {
  let sum = 0;
  for (let d = 0; d < length; d++) sum += a[i + d] * b[j + d];
  return sum;
}

/** All heads of one query: logits, weights and what is read off them, as netwright.views.parts has them. */
function attend(layer, row, column) {
  const { heads, keyDim: dim, window: size, halo, block, stride, side, pixels } = layer, [height, width] = layer.map;
  const q = unpack(layer.query), k = unpack(layer.key), keys = size * size, [y, x] = [row % side, column % side];
  const top = Math.floor(row / side) * block - halo, left = Math.floor(column / side) * block - halo;
  const seen = { top, left, y: halo + stride * y, x: halo + stride * x, inside: new Uint8Array(keys), valid: 0, heads: [] };
  for (let u = 0; u < size; u++) for (let v = 0; v < size; v++) {
    seen.inside[u * size + v] = top + u >= 0 && top + u < height && left + v >= 0 && left + v < width ? 1 : 0;
  }
  seen.valid = seen.inside.reduce((a, b) => a + b);
  for (let n = 0; n < heads; n++) {
    const at = ((n * layer.queries[0] + row) * layer.queries[1] + column) * dim;
    const maps = Object.fromEntries(Object.keys(MODES).map((mode) => [mode, new Float32Array(keys)]));
    let most = -Infinity;
    for (let i = 0; i < keys; i++) {
      const u = Math.floor(i / size), v = i % size;
      if (seen.inside[i]) maps.content[i] = dot(q, at, k, ((n * height + top + u) * width + left + v) * dim, dim) / Math.sqrt(dim);
      maps.position[i] = dot(q, at, layer.heightTable, (u - y + size - 1) * dim, dim) + dot(q, at, layer.widthTable, (v - x + size - 1) * dim, dim);
      most = Math.max(most, maps.content[i] + maps.position[i]);
    }
    let total = 0;
    for (let i = 0; i < keys; i++) total += maps.attention[i] = Math.exp(maps.content[i] + maps.position[i] - most);
    const masses = [0, 0, 0];
    for (let i = 0; i < keys; i++) {
      const u = Math.floor(i / size) - halo, v = (i % size) - halo;
      maps.attention[i] /= total;
      masses[!seen.inside[i] ? 2 : u >= 0 && u < block && v >= 0 && v < block ? 0 : 1] += maps.attention[i];
      if (seen.inside[i]) maps["value-weighted"][i] = maps.attention[i] * layer.valueNorm[(n * height + top + u + halo) * width + left + v + halo];
    }
    const shown = Math.max(1e-30, masses[0] + masses[1]);
    let entropy = 0, distance = 0;
    for (let i = 0; i < keys; i++) {
      const share = seen.inside[i] ? maps.attention[i] / shown : 0;
      if (share > 0) entropy -= share * Math.log(share);
      distance += share * pixels * Math.hypot(Math.floor(i / size) - seen.y, (i % size) - seen.x);
    }
    seen.heads.push({ maps, masses, "effective keys": Math.exp(entropy), distance, positionShare: positionShare(maps) });
  }
  return seen;
}

function variance(values) {
  const mean = values.reduce((a, b) => a + b) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

function positionShare({ content, position }) {
  return variance(position) / Math.max(1e-30, variance(position) + variance(content));
}

function statistic(head, name) {
  const mass = MASSES.findIndex(([it]) => it === name);
  return mass >= 0 ? head.masses[mass] : name === "position share" ? head.positionShare : head[name];
}

const amount = (name, value) => (name === "effective keys" ? number(value) : name === "distance" ? `${number(value)} px` : percent(value));
const heading = (parent, text) => make(parent, "h3", { style: "font-size:14px;margin:0 0 4px" }, text);
const NOTE = { class: "nw-note", style: "max-width:62em" };

function view(ui) {
  const { data, body } = ui, frame = body.parentElement;
  frame.haloPicture = data.picture ?? frame.haloPicture; // the message of a twin leaves out what both have
  const image = new Image();
  image.addEventListener("load", () => parts && drawPicture());
  image.src = frame.haloPicture;
  const first = { layer: data.shown, row: data.query[0], column: data.query[1], head: 0, mode: "attention", scale: "query", over: false, key: null, statistic: "effective keys", without: null };
  let now, seen, parts = null, last = null, jumped = null;
  const layer = () => data.layers[now.layer];

  const controls = make(body, "div", { class: "nw-row" });
  const menus = {
    layer: menu(controls, "Layer", data.layers.map((it, i) => [i, `${it.name} (${it.map.join("×")}, ${it.heads} heads)`]), first.layer, toLayer),
    mode: segments(controls, "Show", Object.keys(MODES).map((mode) => [mode, MODES[mode].text]), "attention", (mode) => ui.choose({ mode })),
    scale: segments(controls, "One scale for", [["head", "each head"], ["query", "this query"], ["layer", "the layer"], ["net", "the net"]], "query", (scale) => ui.choose({ scale })),
    over: segments(controls, "Head over picture", [[false, "no"], [true, "yes"]], false, (over) => ui.choose({ over })),
  };
  const stage = make(body, "div");

  /** Another layer has other cells: the query that lies nearest to the same place in the picture. */
  function toLayer(next) {
    const from = layer().queries, to = data.layers[next].queries;
    const same = (at, axis) => Math.min(to[axis] - 1, Math.floor(((at + 0.5) * to[axis]) / from[axis]));
    ui.choose({ layer: next, row: same(now.row, 0), column: same(now.column, 1), head: Math.min(now.head, data.layers[next].heads - 1), key: null, without: null });
  }

  function toHead(key) {
    const step = { "[": -1, "]": 1 }[key];
    if (step) ui.choose({ head: (now.head + step + layer().heads) % layer().heads });
    return Boolean(step);
  }

  function build() {
    const it = layer(), { window: size, halo } = it, [height, width] = it.map, cell = Math.max(4, Math.floor(400 / (Math.max(height, width) + 2 * halo)));
    stage.replaceChildren();
    parts = { built: now.layer, cell };
    const above = make(stage, "div", { class: "nw-columns" });
    const left = make(above, "div", { style: "max-width:400px" });
    heading(left, "Pick a query");
    const around = make(left, "div", { style: "position:relative;display:inline-block;max-width:100%" });
    const [wide, tall] = [width + 2 * halo, height + 2 * halo];
    parts.picture = make(around, "canvas", { width: cell * wide, height: cell * tall, "aria-hidden": "true", style: "display:block" });
    parts.pick = pickable(around, cell * width, cell * height, ...it.queries, {
      label: "", at: () => [now.row, now.column], onPick: (row, column) => ui.choose({ row, column }), leap: it.side, other: toHead,
    });
    const share = (part, whole) => `${(100 * part) / whole}%`;
    parts.pick.style.cssText = `position:absolute;left:${share(halo, wide)};top:${share(halo, tall)};width:${share(width, wide)};height:${share(height, tall)}`;
    parts.here = make(left, "p", { style: "margin:4px 0;font-weight:bold;min-height:1.45em", "aria-hidden": "true" }); // read aloud below
    make(left, "p", NOTE, `Orange: the query. Solid blue: its block of ${it.block}×${it.block} keys. Dashed: its window of ${size}×${size}. Hatched: outside of the picture. Arrow keys move by one query, with Shift by one block; [ and ] change the head.`);

    const right = make(above, "div", { style: "flex:1;min-width:300px" });
    heading(right, `What each head makes of the ${size}×${size} window`);
    const grid = make(right, "div", { style: "display:flex;flex-wrap:wrap;gap:6px", role: "group", "aria-label": "Heads" });
    const small = Math.max(4, Math.floor(144 / size));
    parts.heads = Array.from({ length: it.heads }, (_, n) => {
      const choose = make(grid, "button", { type: "button", style: "padding:3px;display:flex;flex-direction:column;gap:2px;align-items:center", onclick: () => ui.choose({ head: n }), onkeydown: (event) => { if (toHead(event.key)) event.preventDefault(); } });
      const canvas = make(choose, "canvas", { width: small * size, height: small * size, "aria-hidden": "true" });
      return { choose, canvas, words: make(choose, "span", { style: "font-size:12px" }) };
    });
    parts.legend = make(right, "div");
    parts.masses = make(right, "div", { style: "overflow-x:auto", tabindex: 0, role: "region", "aria-label": "Masses of the heads" });

    const middle = make(stage, "div", { class: "nw-columns", style: "margin-top:12px" });
    const one = make(middle, "div", { style: "width:400px;max-width:100%" });
    parts.oneTitle = heading(one, "");
    const large = Math.floor(308 / size);
    parts.one = pickable(one, large * size, large * size, size, size, {
      label: "", at: () => now.key ?? heaviest(), onPick: (u, v) => ui.choose({ key: [u, v] }), leap: it.block, other: toHead,
    });
    parts.oneWords = make(one, "p", NOTE);
    const other = make(middle, "div", { style: "flex:1;min-width:300px" });
    parts.ablations = make(other, "div");
    const below = make(stage, "div", { style: "margin-top:12px" });
    heading(below, "Over all queries: each head of each layer");
    const about = make(below, "div", { class: "nw-row" });
    parts.statistic = menu(about, "Statistic", data.statistics.map((name) => [name, name]), now.statistic, (name) => ui.choose({ statistic: name }));
    make(about, "span", NOTE, "Thin line: 5 to 95 % of the queries; thick: 25 to 75 %; tick: median; dot: this query. Effective keys (e to the entropy) and distance are over the keys in the picture. Position share: the variance of the position logits in the window, of its sum with that of the content.");
    parts.strips = make(below, "div");
    const { across, within, "output ratio": out, "input ratio": into } = it.border;
    make(below, "p", NOTE, out === null ? "The map of this layer is one block: there is no border to cross." :
      `From one query to the next the output of ${it.name} changes by ${number(across)} across a border of blocks and by ${number(within)} within a block: ${number(out)} times as much. What goes in changes ${number(into)} times as much there.`);
  }

  function heaviest() {
    const map = seen.heads[now.head].maps.attention, at = map.indexOf(map.reduce((a, b) => Math.max(a, b))), size = layer().window;
    return [Math.floor(at / size), at % size];
  }

  /** The limits of the colours for one head, by the reader's choice; raw: what is really on show. */
  function scaleOf(n) {
    const maps = seen.heads.map((head) => head.maps[now.mode]), all = (range) => limits(range, MODES[now.mode].signs);
    if (now.scale === "head") return all(maps[n]);
    const ranges = { query: maps.map(extent), layer: [layer().ranges[now.mode]], net: data.layers.map((it) => it.ranges[now.mode]) };
    return { ...all(ranges[now.scale].flat()), raw: extent(maps.map(extent).flat()) };
  }

  function drawWindow(canvas, n, { thick = 1, key = null } = {}) {
    const { window: size, halo, block } = layer(), cell = canvas.width / size;
    heat(canvas, seen.heads[n].maps[now.mode], size, size, scaleOf(n));
    const [height, width] = layer().map, [above, before] = [Math.max(0, -seen.top), Math.max(0, -seen.left)];
    const [below, after] = [Math.max(0, seen.top + size - height), Math.max(0, seen.left + size - width)], rows = size - above - below;
    for (const [x, y, w, h] of [[0, 0, size, above], [0, size - below, size, below], [0, above, before, rows], [size - after, above, after, rows]]) {
      if (w && h) hatch(canvas, x * cell, y * cell, w * cell, h * cell, { step: 5, ink: "rgba(200,200,200,0.9)" });
    }
    outline(canvas, halo * cell, halo * cell, block * cell, block * cell, { ink: "#0072b2", line: thick });
    outline(canvas, seen.x * cell + 1, seen.y * cell + 1, cell - 2, cell - 2, { line: thick });
    if (key) outline(canvas, key[1] * cell + 2, key[0] * cell + 2, cell - 4, cell - 4, { ink: "#000000", dash: [3, 3], line: 1.5 });
  }

  function drawPicture() {
    const { window: size, halo, block, stride } = layer(), [height, width] = layer().map, { picture: canvas, cell } = parts;
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(body).getPropertyValue("--nw-raised");
    context.fillRect(0, 0, canvas.width, canvas.height);
    hatch(canvas, 0, 0, canvas.width, canvas.height, { step: 8 });
    context.imageSmoothingEnabled = false;
    if (image.complete) context.drawImage(image, halo * cell, halo * cell, width * cell, height * cell);
    const [left, top] = [(seen.left + halo) * cell, (seen.top + halo) * cell];
    if (now.over) {
      context.globalAlpha = 0.7;
      heat(canvas, seen.heads[now.head].maps[now.mode], size, size, scaleOf(now.head), left, top, size * cell, size * cell);
      context.globalAlpha = 1;
    }
    context.fillStyle = "rgba(255,255,255,0.75)"; // the borders of blocks, and corners of query cells
    for (let x = 0; x <= width; x += stride) for (let y = 0; y <= height; y += stride) context.fillRect((x + halo) * cell - 0.5, (y + halo) * cell - 0.5, 1.5, 1.5);
    for (let x = 0; x <= width; x += block) context.fillRect((x + halo) * cell - 0.5, halo * cell, 1, height * cell);
    for (let y = 0; y <= height; y += block) context.fillRect(halo * cell, (y + halo) * cell - 0.5, width * cell, 1);
    if (jumped) outline(canvas, (jumped.left + halo) * cell + 1, (jumped.top + halo) * cell + 1, size * cell - 2, size * cell - 2, { ink: "#6b6b6b", dash: [2, 4], line: 1.5 });
    outline(canvas, left + 2, top + 2, size * cell - 4, size * cell - 4, { ink: "#0072b2", dash: [8, 5] });
    outline(canvas, left + halo * cell, top + halo * cell, block * cell, block * cell, { ink: "#0072b2" });
    outline(canvas, (now.column * stride + halo) * cell, (now.row * stride + halo) * cell, stride * cell, stride * cell, {});
  }

  function drawMasses() {
    parts.masses.replaceChildren();
    const table = make(parts.masses, "table", { style: "border-collapse:collapse;font-size:13px;width:100%;color:inherit" });
    const line = (parent, cells, tag) => cells.map((text, i) => make(parent, i ? tag : "th", { scope: i ? (tag === "th" ? "col" : null) : tag === "th" ? "col" : "row", style: `padding:1px 7px;text-align:right;font-weight:normal;vertical-align:${tag === "th" ? "bottom" : "middle"};background:none` }, text));
    const names = line(make(make(table, "thead"), "tr"), ["head", "its attention", ...MASSES.map(([name]) => name), "effective keys", "mean distance", "position share"], "th");
    MASSES.forEach(([, style], i) => make(names[i + 2], "i", { style: `${style};display:block;width:100%;height:5px`, "aria-hidden": "true" }));
    const rows = make(table, "tbody");
    seen.heads.forEach((head, n) => {
      const row = make(rows, "tr", { style: n === now.head ? "outline:2px solid var(--nw-strong);outline-offset:-1px" : null });
      const cells = line(row, [`${n}`, "", ...head.masses.map((it) => percent(it)), number(head["effective keys"]), amount("distance", head.distance), percent(head.positionShare)], "td");
      const bar = make(cells[1], "span", { style: "display:flex;min-width:110px;height:12px", "aria-hidden": "true" });
      head.masses.forEach((mass, i) => make(bar, "span", { style: `${MASSES[i][1]};width:${100 * mass}%` }));
    });
  }

  function drawOne() {
    const [u, v] = now.key ?? heaviest(), size = layer().window, { maps } = seen.heads[now.head], i = u * size + v;
    drawWindow(parts.one, now.head, { thick: 2, key: [u, v] });
    parts.oneTitle.textContent = `Head ${now.head}: ${MODES[now.mode].text}, key by key`;
    const where = seen.inside[i] ? `row ${seen.top + u}, column ${seen.left + v} of the map` : "padding: its key and value are 0";
    parts.oneWords.textContent = `${now.key ? "Key" : "Heaviest key"}, row ${u}, column ${v} of the window (${where}): content ${signed(maps.content[i])}, position ${signed(maps.position[i])}, together ${signed(maps.content[i] + maps.position[i])}; ${percent(maps.attention[i], 2)} of the attention; weight × length of its value ${number(maps["value-weighted"][i])}.`;
    parts.one.setAttribute("aria-label", parts.oneWords.textContent);
  }

  /** Ask the net first, then its random twin, which may have to be made. */
  async function measure(keys) {
    const which = now.layer, it = layer();
    for (const beside of ui.random ? [false] : [false, true]) {
      ui.say(beside ? "The random twin answers without it …" : "The net answers without it …");
      const answer = await ui.ask({ ask: "ablate", layer: which, keys, beside });
      if (!answer) return;
      it.changes = [...it.changes.filter((row) => !keys.includes(row.key)), ...answer.rows];
      parts.ablated = null;
      ui.choose({ without: keys.length === 1 ? keys[0] : null });
    }
  }

  function drawAblations() {
    const it = layer(), [top] = data.top, state = [now.layer, it.changes.length, now.without].join();
    if (!top || parts.ablated === state) return;
    parts.ablated = state;
    const box = parts.ablations, focused = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    box.replaceChildren();
    heading(box, `Take something from this layer: what happens to “${top.name}” (logit ${number(top.logit, 4)})`);
    const rows = new Map(it.changes.map((row) => [row.key, row])), twins = it.changes.some((row) => row.twin);
    const open = it.ablations.filter(({ key }) => !rows.has(key)).map(({ key }) => key);
    if (open.length && ui.live) button(box, "Measure all", () => measure(open), { style: "margin-bottom:4px" });
    if (open.length && !ui.live) make(box, "p", NOTE, "Not measured for this page; a page saved with its random twin has all layers.");
    const reach = Math.max(1e-12, ...it.changes.flatMap((row) => [row.change, row.twin?.change ?? 0]).map(Math.abs));
    const table = make(box, "table", { style: "border-collapse:collapse;font-size:13px;width:100%;color:inherit" });
    const head = make(make(table, "thead"), "tr"), cell = "padding:1px 6px;font-weight:normal;background:none";
    ["without", "change of the logit", ...(twins ? ["in the random twin: of its own top class"] : []), "top 5 kept"].forEach((name) => make(head, "th", { scope: "col", style: `${cell};text-align:left;color:var(--nw-soft);${name.startsWith("change") || name.startsWith("in the") ? "width:30%" : ""}` }, name));
    const lines = make(table, "tbody");
    const bar = (parent, change) => {
      const at = make(parent, "div", { style: "display:grid;grid-template-columns:1fr 5.2em;gap:6px;align-items:center;min-width:130px" });
      const track = make(at, "span", { class: "nw-track", "aria-hidden": "true" }), share = (50 * Math.abs(change)) / reach;
      make(track, "span", { class: change < 0 ? "nw-fill nw-negative" : "nw-fill nw-positive", style: `left:${change < 0 ? 50 - share : 50}%;width:${share}%` });
      make(at, "span", { style: "text-align:right;font-variant-numeric:tabular-nums" }, signed(change));
    };
    for (const { key, label } of it.ablations) {
      const row = rows.get(key), line = make(lines, "tr");
      const name = make(line, "th", { scope: "row", style: `${cell};text-align:left` });
      button(name, label, () => (row ? ui.choose({ without: key }) : measure([key])), { "data-key": key, "aria-pressed": String(key === now.without), disabled: !row && !ui.live, style: "text-align:left;width:100%;white-space:nowrap" });
      const cells = Array.from({ length: twins ? 3 : 2 }, () => make(line, "td", { style: cell }, row ? "" : "–"));
      if (!row) continue;
      cells.at(-1).textContent = `${row.kept}${row.flipped ? `, first now “${row.names[0]}”` : ""}`;
      bar(cells[0], row.change);
      if (row.twin) bar(cells[1], row.twin.change);
    }
    const picked = rows.get(now.without);
    if (picked) make(box, "p", NOTE, `Then the likeliest are ${picked.names.map((name, i) => `${name} ${number(picked.logits[i])}`).join(", ")}; with everything in place, ${data.top.map((it) => `${it.name} ${number(it.logit)}`).join(", ")}.`);
    if (focused) box.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  }

  function drawStrips() {
    const which = data.statistics.indexOf(now.statistic), state = [now.layer, now.statistic].join(), NS = "http://www.w3.org/2000/svg";
    const rows = data.layers.flatMap((it, i) => Array.from({ length: it.heads }, (_, n) => ({ i, n, name: it.name, at: slice(it.quantiles, which, n) })));
    const share = !["effective keys", "distance"].includes(now.statistic), most = share ? 1 : Math.max(...rows.map((row) => row.at[5]));
    const wide = 1000, start = 300, x = (value) => start + (value / most) * (wide - start - 30), tall = 15 * rows.length + 26;
    const spot = (n) => x(statistic(seen.heads[n], now.statistic));
    if (parts.stripped === state) return parts.dots.forEach((it, n) => it.setAttribute("cx", spot(n)));
    [parts.stripped, parts.dots] = [state, []];
    const svg = document.createElementNS(NS, "svg");
    Object.entries({ viewBox: `0 0 ${wide} ${tall}`, role: "img", class: "nw-lines", style: "width:100%;max-width:1000px" }).forEach(([name, value]) => svg.setAttribute(name, value));
    svg.setAttribute("aria-label", `${now.statistic} over the queries; medians of ${layer().name}: ${rows.filter((row) => row.i === now.layer).map((row) => `head ${row.n} ${amount(now.statistic, row.at[2])}`).join(", ")}`);
    const add = (tag, attributes, text = "") => { const it = svg.appendChild(document.createElementNS(NS, tag)); Object.entries(attributes).forEach(([name, value]) => it.setAttribute(name, value)); it.textContent = text; return it; };
    for (let i = 0; i <= 4; i++) {
      add("line", { x1: x((most * i) / 4), x2: x((most * i) / 4), y1: 2, y2: tall - 20, class: "nw-grid" });
      add("text", { x: x((most * i) / 4), y: tall - 5, "text-anchor": "middle" }, amount(now.statistic, (most * i) / 4));
    }
    rows.forEach(({ i, n, name, at }, line) => {
      const y = 15 * line + 9, here = i === now.layer, ink = CYCLE[i % 2 ? 1 : 0];
      add("text", { x: start - 12, y: y + 4, "text-anchor": "end", style: here ? "fill:var(--nw-ink)" : "" }, `${n === 0 ? name : ""} ${n}`);
      add("line", { x1: x(at[0]), x2: x(at[4]), y1: y, y2: y, stroke: ink, "stroke-width": 1.5 });
      add("line", { x1: x(at[1]), x2: x(at[3]), y1: y, y2: y, stroke: ink, "stroke-width": 7, opacity: 0.55 });
      add("line", { x1: x(at[2]), x2: x(at[2]), y1: y - 6, y2: y + 6, stroke: ink, "stroke-width": 3 });
      if (here) parts.dots.push(add("circle", { cx: spot(n), cy: y, r: 4, style: "fill:var(--nw-ink);stroke:var(--nw-ground)" }));
    });
    parts.strips.replaceChildren(svg);
  }

  function words() {
    const head = seen.heads[now.head], [own, ring, padding] = head.masses;
    const masses = `Head ${now.head}, query row ${now.row}, column ${now.column}: ${percent(own)} own block, ${percent(ring)} halo, ${percent(padding)} padding`;
    return `${masses}; ${number(head["effective keys"])} effective keys of ${seen.valid} in the picture, ${amount("distance", head.distance)} away on average.`;
  }

  /** How far the window went with the query: a whole block, or not at all. */
  function jump() {
    const moved = last && last.layer === now.layer && (last.row !== now.row || last.column !== now.column);
    const [down, across] = moved ? [seen.top - last.top, seen.left - last.left].map(Math.abs) : [0, 0];
    jumped = down || across ? { top: last.top, left: last.left } : null;
    last = { layer: now.layer, row: now.row, column: now.column, top: seen.top, left: seen.left };
    if (!moved) return "";
    return !jumped ? " The window stayed." : down && across ? ` The window jumped by ${down} rows and ${across} columns.` : ` The window jumped by ${down || across}.`;
  }

  function draw() {
    now = { ...first, ...ui.choice };
    if (parts?.built !== now.layer) build();
    for (const name of ["layer", "mode", "scale", "over"]) menus[name].value = now[name];
    parts.statistic.value = now.statistic;
    seen = attend(layer(), now.row, now.column);
    const jumps = jump(), row = layer().changes.find((it) => it.key === now.without);
    drawPicture();
    parts.heads.forEach(({ choose, canvas, words: below }, n) => {
      const [own, ring, padding] = seen.heads[n].masses.map((it) => percent(it));
      drawWindow(canvas, n);
      below.textContent = `head ${n}`;
      choose.setAttribute("aria-pressed", String(n === now.head));
      choose.setAttribute("aria-label", `head ${n}: ${own} own block, ${ring} halo ring, ${padding} padding`);
    });
    parts.legend.replaceChildren();
    legend(parts.legend, scaleOf(now.head), MODES[now.mode].unit + (now.scale === "head" ? `, head ${now.head}` : ""));
    drawMasses();
    drawOne();
    drawAblations();
    drawStrips();
    parts.here.textContent = `Query row ${now.row}, column ${now.column}.${jumps}`;
    parts.pick.setAttribute("aria-label", `${words()} Its window has ${layer().window ** 2} keys.`);
    ui.say(row && !jumps ? without(row) : words() + jumps);
  }

  function without(row) {
    const twin = row.twin ? ` In the random twin its own top logit changes by ${signed(row.twin.change)}.` : "";
    return `Without that (${layer().ablations.find((it) => it.key === row.key).label}) the logit of “${data.top[0].name}” changes by ${signed(row.change)}; ${row.kept} of the 5 likeliest stay.${twin}`;
  }

  function table() {
    return {
      caption: `${layer().name}, query row ${now.row}, column ${now.column}: ${seen.valid} of ${layer().window ** 2} keys lie in the picture`,
      head: ["head", ...MASSES.map(([name]) => name), "effective keys", "their median", "mean distance, px", "its median", "position share"],
      rows: seen.heads.map((head, n) => [`${n}`, ...head.masses, head["effective keys"], slice(layer().quantiles, 0, n)[2], head.distance, slice(layer().quantiles, 1, n)[2], head.positionShare]),
    };
  }
  return { draw, table };
}
