// What every view stands in: its frame, its controls, its talk with the kernel. Uses paint.js.
//
// A view is a function view(ui) that fills ui.body and returns { table, draw }:
//   ui.data     what Python sent, arrays decoded (typed arrays that know their `shape`)
//   ui.choice   what is chosen now, a plain object; ui.choose({head: 2}) changes it, tells Python and calls draw()
//   ui.say(s)   what is seen now, in a sentence: read aloud, and shown above the view
//   ui.ask(q)   a promise of Python's answer, or null where there is no kernel (an exported page)
//   table()     {caption, head: [...], rows: [[...], ...]} of what is shown now

const HALF = { f2: true };
const ARRAYS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, i2: Int16Array, u1: Uint8Array, i1: Int8Array };

function halfToFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * 2 ** -24 * fraction;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * 2 ** (exponent - 25) * (1024 + fraction);
}

/** Arrays travel as text, because not every notebook carries binary messages. */
function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  if (value.base64 === undefined) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, decode(v)]));
  const bytes = Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0));
  const array = HALF[value.dtype]
    ? Float32Array.from(new Uint16Array(bytes.buffer), halfToFloat)
    : new ARRAYS[value.dtype](bytes.buffer);
  array.shape = value.shape;
  return array;
}

/** One matrix of a stack: slice(array, 2, 5) of shape (a, b, rows, columns) is its rows x columns at [2, 5]. */
function slice(array, ...index) {
  const rest = array.shape.slice(index.length);
  const size = rest.reduce((a, b) => a * b, 1);
  const start = index.reduce((at, i, axis) => at * array.shape[axis] + i, 0) * size;
  const part = array.subarray(start, start + size);
  part.shape = rest;
  return part;
}

function make(parent, tag, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  if (text !== "") element.textContent = text;
  parent?.append(element);
  return element;
}

let counted = 0;
function uniqueId(word) {
  return `nw-${word}-${Math.random().toString(36).slice(2, 8)}-${counted++}`;
}

// Controls --------------------------------------------------------------------------------------------------------

/** A menu. options: [[value, text], ...]. Returns an object with `value` to read and set. */
function menu(parent, label, options, value, onChange) {
  const field = make(parent, "label", { class: "nw-field" }, label);
  const list = make(field, "select", { onchange: () => onChange(options[list.selectedIndex][0]) });
  options.forEach(([it, text]) => make(list, "option", { selected: it === value }, text));
  return { get value() { return options[list.selectedIndex][0]; },
    set value(it) { list.selectedIndex = options.findIndex(([other]) => other === it); }, element: list };
}

/** Some values of which one holds, as buttons side by side. options as for a menu. */
function segments(parent, label, options, value, onChange) {
  const group = make(parent, "div", { role: "group", "aria-label": label, class: "nw-segments" });
  make(group, "span", { class: "nw-label", "aria-hidden": "true" }, label);
  const buttons = options.map(([it, text]) =>
    make(group, "button", { type: "button", "aria-pressed": String(it === value), onclick: () => { set(it); onChange(it); } }, text));
  function set(it) {
    options.forEach(([other], i) => buttons[i].setAttribute("aria-pressed", String(other === it)));
  }
  return { set value(it) { set(it); }, element: group };
}

/** A slider over a list of values; text(value) is what it reads. */
function slider(parent, label, values, value, onChange, text = String) {
  const field = make(parent, "label", { class: "nw-field" }, label);
  const range = make(field, "input", { type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": label });
  const read = make(field, "output", { class: "nw-read" });
  function show() {
    read.textContent = text(values[range.value]);
    range.setAttribute("aria-valuetext", read.textContent);
  }
  range.value = values.indexOf(value);
  range.addEventListener("input", () => { show(); onChange(values[range.value]); });
  show();
  return { get value() { return values[range.value]; }, set value(it) { range.value = values.indexOf(it); show(); }, element: range };
}

function button(parent, text, onClick, attributes = {}) {
  return make(parent, "button", { type: "button", onclick: onClick, ...attributes }, text);
}

/** A canvas that is looked at only. */
function picture(parent, width, height, label) {
  return make(parent, "canvas", { width, height, role: "img", "aria-label": label });
}

/**
 * A canvas of rows x columns cells that can be picked: by click, by the arrow keys (with shift `leap` cells at once).
 * at() gives [row, column] now; onPick(row, column) is told where to. other(key) may take further keys.
 */
function pickable(parent, width, height, rows, columns, { label, at, onPick, leap = 8, other }) {
  const canvas = make(parent, "canvas", {
    width, height, tabindex: 0, role: "application", "aria-roledescription": "picture to explore", "aria-label": label, class: "nw-pick",
  });
  const clamp = (i, count) => Math.max(0, Math.min(count - 1, i));
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    canvas.focus({ preventScroll: true });
    onPick(clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), rows),
           clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), columns));
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move && !other?.(event.key)) return;
    event.preventDefault(); // the notebook would scroll, or move to the next cell
    event.stopPropagation();
    if (!move) return;
    const far = event.shiftKey ? leap : 1, [row, column] = at();
    onPick(clamp(row + far * move[0], rows), clamp(column + far * move[1], columns));
  });
  return canvas;
}

/** The colour bar of a scale, with its unit and the lowest and highest number that there really is. */
function legend(parent, scale, unit) {
  const box = make(parent, "div", { class: "nw-legend" });
  const bar = make(box, "canvas", { width: 160, height: 12, "aria-hidden": "true" });
  const words = make(box, "span");
  function draw(now) {
    heat(bar, Float32Array.from({ length: 160 }, (_, i) => now.low + ((now.high - now.low) * i) / 159), 1, 160, now);
    const flat = now.raw[0] === now.raw[1] ? ", uniform" : "";
    words.textContent = `${number(now.low)} to ${number(now.high)} ${unit}; shown: ${number(now.raw[0])} to ${number(now.raw[1])}${flat}`;
  }
  draw(scale);
  return { draw };
}

/**
 * Bars that can be sorted and picked. items: [{key, label, value, title?}]; onPick(key). Negative bars go left.
 * Arrow keys move through them as they are ordered.
 */
function bars(parent, { label, unit, onPick, sortable = true, tall = false }) {
  const box = make(parent, "div", { class: "nw-bars-box" });
  let items = [], chosen = null, order = "as they are";
  const orders = [["as they are", "as they are"], ["largest first", "largest first"], ["by size", "by size, sign aside"]];
  if (sortable) segments(box, "Order", orders, order, (it) => { order = it; draw(); });
  const list = make(box, "div", { class: tall ? "nw-bars nw-tall" : "nw-bars", role: "group", "aria-label": label });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = document.activeElement === list ? list.firstChild : step > 0 ? document.activeElement.nextSibling : document.activeElement.previousSibling;
    if (next) { next.focus(); next.click(); }
  });
  function sorted() {
    const copy = [...items];
    if (order === "largest first") copy.sort((a, b) => b.value - a.value);
    if (order === "by size") copy.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    return copy;
  }
  function draw(now = items, pick = chosen) {
    [items, chosen] = [now, pick];
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    list.replaceChildren();
    const reach = Math.max(1e-12, ...items.map((item) => Math.abs(item.value)));
    const isSigned = items.some((item) => item.value < 0);
    for (const item of sorted()) {
      const row = make(list, "button", {
        type: "button", class: "nw-bar", "data-key": item.key, title: item.title, "aria-pressed": String(item.key === chosen),
        onclick: () => { chosen = item.key; mark(); onPick?.(item.key); },
      });
      make(row, "span", { class: "nw-bar-label" }, item.label);
      const track = make(row, "span", { class: "nw-track", "aria-hidden": "true" });
      const share = (100 * Math.abs(item.value)) / reach / (isSigned ? 2 : 1);
      const start = isSigned ? (item.value < 0 ? 50 - share : 50) : 0;
      const sign = !isSigned ? "" : item.value < 0 ? " nw-negative" : " nw-positive"; // red is more, blue less, as in maps
      make(track, "span", { class: `nw-fill${sign}`, style: `left:${start}%;width:${share}%` });
      make(row, "span", { class: "nw-bar-value" }, `${isSigned ? signed(item.value) : number(item.value)}${unit ? ` ${unit}` : ""}`);
      if (focused === String(item.key)) row.focus({ preventScroll: true });
    }
  }
  function mark() {
    for (const row of list.children) row.setAttribute("aria-pressed", String(row.dataset.key === String(chosen)));
  }
  return { draw, set chosen(key) { chosen = key; mark(); }, element: list };
}

/** Round numbers from low to high, four or so. */
function ticks(low, high) {
  const rough = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((times) => times * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

/**
 * Lines over a shared x. series: [{name, x, y, low?, high?, dash?}]; colours and dashes tell them apart.
 * Drawn as SVG with its description; axis labels in words.
 */
function lines(parent, series, { width = 420, height = 240, x = "", y = "", label = "", low = null, high = null, mark = null } = {}) {
  const NS = "http://www.w3.org/2000/svg";
  const chart = make(parent, "div", { class: "nw-chart", style: `max-width: min(100%, ${width}px)` });
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.classList.add("nw-lines");
  const [left, bottom, top, right] = [54, 38, 10, 10];
  const [x0, x1] = extent(series.flatMap((s) => [...s.x]));
  const [y0, y1] = extent(series.flatMap((s) => [...s.y, ...(s.low ?? []), ...(s.high ?? [])]));
  const [yl, yh] = [low ?? y0, high ?? y1];
  const px = (v) => left + ((v - x0) / (x1 - x0 || 1)) * (width - left - right);
  const py = (v) => height - bottom - ((v - yl) / (yh - yl || 1)) * (height - bottom - top);
  const add = (tag, attributes, text) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text) element.textContent = text;
    svg.append(element);
  };
  for (const v of ticks(yl, yh)) {
    add("line", { x1: left, x2: width - right, y1: py(v), y2: py(v), class: "nw-grid" });
    add("text", { x: left - 6, y: py(v) + 4, "text-anchor": "end" }, number(v));
  }
  for (const u of ticks(x0, x1)) add("text", { x: px(u), y: height - bottom + 16, "text-anchor": "middle" }, number(u));
  add("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, x);
  add("text", { x: 12, y: height / 2, transform: `rotate(-90 12 ${height / 2})`, "text-anchor": "middle" }, y);
  series.forEach((s, i) => {
    const ink = CYCLE[i % CYCLE.length];
    const path = (values) => [...s.x].map((v, j) => `${px(v)},${py(values[j])}`);
    if (s.low) add("polygon", { points: [...path(s.low), ...path(s.high).reverse()].join(" "), fill: ink, opacity: 0.18 });
    add("polyline", { points: path(s.y).join(" "), fill: "none", stroke: ink, "stroke-width": 2, "stroke-dasharray": (s.dash ?? []).join(" ") });
  });
  if (mark !== null) add("line", { x1: px(mark), x2: px(mark), y1: top, y2: height - bottom, class: "nw-mark" });
  chart.append(svg);
  const key = make(chart, "div", { class: "nw-key" });
  series.forEach((s, i) => {
    const item = make(key, "span");
    make(item, "i", { style: `border-top: 3px ${s.dash ? "dashed" : "solid"} ${CYCLE[i % CYCLE.length]}`, "aria-hidden": "true" });
    item.append(s.name);
  });
  return chart;
}

// The frame -------------------------------------------------------------------------------------------------------

/** Stand a view in `el`: its title and badge, the switch to random weights, the view, its words, its table. */
function mount(view, model, el) {
  const payload = decode(JSON.parse(model.get("payload")));
  const root = make(el, "section", { class: "nw-view", "aria-label": payload.title, "data-lm-suppress-shortcuts": "true" });
  // A notebook has keys of its own, and would take the arrows away from a slider.
  root.addEventListener("keydown", (event) => { if (!event.ctrlKey && !event.metaKey) event.stopPropagation(); });
  const head = make(root, "div", { class: "nw-head" });
  make(head, "strong", { class: "nw-title" }, payload.title);
  const badge = make(head, "span", { class: "nw-badge" });
  const tools = make(head, "span", { class: "nw-tools" });
  const words = make(root, "p", { class: "nw-words", role: "status" }); // above, as a view may be taller than the screen
  const body = make(root, "div", { class: "nw-body" });
  const sheet = make(root, "div", { class: "nw-table", hidden: true, tabindex: 0, role: "region", "aria-label": `${payload.title}, as a table` });
  const choice = JSON.parse(model.get("choice") || "{}");
  let shown = payload, standing = null;

  // One question is under way at a time, and only the last that came meanwhile follows it.
  let waiting = null, next = null, asked = 0;
  function send(question, done) {
    waiting = { id: ++asked, done };
    model.set("question", JSON.stringify({ ...question, id: asked, twin: shown !== payload }));
    model.save_changes();
  }
  function ask(question) {
    if (!payload.live) return null;
    return new Promise((done) => {
      if (waiting) { next?.done(null); next = { question, done }; } else send(question, done);
    });
  }
  function answered() {
    const answer = JSON.parse(model.get("answer") || "{}");
    if (!waiting || answer.id !== waiting.id) return;
    const { done } = waiting;
    waiting = null;
    if (answer.error) words.textContent = answer.error;
    done(answer.error ? null : decode(answer));
    setTimeout(() => { root.dataset.answers = answer.id; }); // once the view has drawn it
    if (next) { const { question, done: then } = next; next = null; send(question, then); }
  }
  model.on("change:answer", answered);

  // Python may choose too.
  function chosen() {
    const told = model.get("choice") || "{}";
    if (told === JSON.stringify(choice)) return;
    Object.assign(choice, JSON.parse(told));
    redraw();
  }
  model.on("change:choice", chosen);

  function choose(patch) {
    Object.assign(choice, patch);
    model.set("choice", JSON.stringify(choice));
    model.save_changes();
    redraw();
  }
  function redraw() {
    root.dataset.choice = JSON.stringify(choice);
    standing?.draw?.();
    retable();
  }
  function retable() {
    if (sheet.hidden || !standing?.table) return;
    const { caption, head: names, rows } = standing.table();
    sheet.replaceChildren();
    const table = make(sheet, "table");
    make(table, "caption", {}, caption);
    const first = make(make(table, "thead"), "tr");
    names.forEach((name) => make(first, "th", { scope: "col" }, name));
    const rest = make(table, "tbody");
    for (const row of rows) {
      const line = make(rest, "tr");
      row.forEach((cell, i) => make(line, i ? "td" : "th", i ? {} : { scope: "row" }, typeof cell === "number" ? number(cell) : String(cell)));
    }
  }
  function stand() {
    badge.textContent = shown.badge.text;
    badge.dataset.state = shown.badge.state;
    body.replaceChildren();
    const ui = {
      data: shown.data, title: payload.title, body, choice, choose, ask, live: payload.live, random: shown !== payload,
      say: (text) => { words.textContent = text; root.dataset.said = text; },
      still: matchMedia("(prefers-reduced-motion: reduce)").matches,
    };
    standing = view(ui) ?? {};
    standing.draw?.();
    retable();
    tableButton.hidden = !standing.table;
  }

  if (payload.twin || (payload.live && payload.twins)) {
    segments(tools, "Weights", [[false, "trained"], [true, "random twin"]], false, async (random) => {
      if (random && !payload.twin) {
        words.textContent = "Making the twin with random weights …";
        const answer = await ask({ ask: "twin" });
        if (!answer) return;
        payload.twin = answer.payload;
      }
      shown = random ? payload.twin : payload;
      root.classList.toggle("nw-random", random);
      stand();
    });
  }
  const tableButton = button(tools, "Show as table", () => {
    sheet.hidden = !sheet.hidden;
    tableButton.setAttribute("aria-expanded", String(!sheet.hidden));
    tableButton.textContent = sheet.hidden ? "Show as table" : "Hide table";
    retable();
  }, { "aria-expanded": "false" });
  stand();
  return () => {
    model.off("change:answer", answered);
    model.off("change:choice", chosen);
  };
}

/** What stands in for the kernel in an exported page: it keeps what is set, and never answers. */
function stored(state) {
  const heard = {};
  return {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; (heard[`change:${name}`] ?? []).forEach((f) => f()); },
    on: (event, f) => (heard[event] ??= []).push(f),
    off: () => {},
    save_changes: () => {},
  };
}
