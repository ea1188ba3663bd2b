// The net as a map (stem, blocks, head from left to right) and as a tree that unfolds to its tensors.
// ui.choice: part (a number in data.parts), open (the numbers of the parts that are unfolded).

const STYLE = `
.nw-arch-map { width: 100%; height: auto; display: block; }
.nw-arch-map text { fill: var(--nw-soft); font-size: 12px; }
.nw-arch-map .unit { cursor: pointer; }
.nw-arch-map .unit.chosen rect { stroke: var(--nw-ink); stroke-width: 2.5; stroke-dasharray: none; }
.nw-arch-map .unit.inside rect { stroke: var(--nw-ink); stroke-width: 1.5; stroke-dasharray: 3 2; }
.nw-arch-line { display: grid; grid-template-columns: minmax(11em, 1fr) minmax(10em, 1fr) 10em 3.4em 12em 12em; gap: 8px; align-items: center;
  padding: 2px 6px; font-size: 13px; border: 1px solid transparent; border-radius: 4px; }
.nw-arch-line > span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.nw-arch-line .end { text-align: right; font-variant-numeric: tabular-nums; }
.nw-arch-head { color: var(--nw-soft); font-size: 12px; align-items: end; border-bottom: 1px solid var(--nw-line); border-radius: 0;
  padding-right: 20px; }
.nw-arch-head > span { overflow: visible; }
.nw-arch-tree { max-height: 420px; overflow-y: scroll; }
.nw-arch-tree [role="treeitem"] { cursor: pointer; }
.nw-arch-tree [aria-selected="true"] { background: var(--nw-raised); border-color: var(--nw-strong); }
.nw-view .nw-arch-tree [role="treeitem"]:focus-visible { outline-offset: -3px; }
.nw-arch-tree .tensor { color: var(--nw-soft); }
.nw-arch-share { display: grid; grid-template-columns: 4em 1fr; gap: 6px; align-items: center; }
.nw-arch-share b { font-weight: normal; text-align: right; font-variant-numeric: tabular-nums; }
.nw-arch-twist { display: inline-block; width: 1.2em; color: var(--nw-strong); }
`;

const whole = (x) => x.toLocaleString("en");
const times = (shape) => (shape === null ? "" : shape.length ? shape.join(" × ") : "one number");
const share = (x) => (x === 0 ? "0 %" : x < 0.0005 ? "<0.1 %" : percent(x, x < 0.0995 ? 1 : 0));

function view(ui) {
  const { parts, units, sorts, parameters, macs } = ui.data;
  make(ui.body, "style", {}, STYLE);
  ui.choice.part ??= 0;
  ui.choice.open ??= [0];
  const inner = parts.map(() => []);
  parts.forEach((part, i) => part.parent !== null && inner[part.parent].push(i));

  const costs = (part) => `${whole(part.parameters)} parameters (${share(part.parameters / (parameters || 1))}), ` +
    `${number(part.macs / 1e9)} GMACs (${share(part.macs / (macs || 1))})`;
  function sentence(i) {
    const part = parts[i];
    const name = i === 0 ? ui.data.net : part.name;
    if (part.kind === "parameter") return `${name}: a ${part.what} of ${times(part.shape)} = ${whole(part.parameters)} numbers (${share(part.parameters / (parameters || 1))}).`;
    if (part.kind === "buffer") return `${name}: a buffer of ${times(part.shape)}; the net keeps it and does not learn it.`;
    if (part.kind === "products") return `${name}: ${part.what}: ${number(part.macs / 1e9)} GMACs (${share(part.macs / (macs || 1))}) without a weight of their own.`;
    if (!part.runs) return `${name}: ${part.what}, never run with this input, ${costs(part)}.`;
    const stride = part.stride ? `, stride ${number(part.stride)}` : "";
    const again = part.runs > 1 ? `, run ${part.runs} times, here the first` : "";
    return `${name}: ${part.what}${again}, ${times(part.shape_in)} to ${times(part.shape)}${stride}, ${costs(part)}.`;
  }

  // The map ---------------------------------------------------------------------------------------------------------
  const SVG = "http://www.w3.org/2000/svg";
  const svgOf = (tag, attributes, parent, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text) element.textContent = text;
    parent.append(element);
    return element;
  };
  const kinds = [...new Set(sorts)];
  const ink = (i) => CYCLE[kinds.indexOf(sorts[i]) % CYCLE.length];
  const key = make(ui.body, "div", { class: "nw-key" });
  kinds.forEach((kind, i) => {
    const item = make(key, "span");
    make(item, "i", { style: `border-top: 10px solid ${CYCLE[i % CYCLE.length]}`, "aria-hidden": "true" });
    item.append(kind);
  });
  make(key, "span", {}, "height: side of the map; bars below: share of the parameters and of the multiply-adds");
  const [WIDTH, TOP, LEFT] = [1060, 120, 92];
  const wide = (WIDTH - LEFT) / units.length;
  const map = svgOf("svg", { viewBox: `0 0 ${WIDTH} 276`, class: "nw-arch-map", role: "img",
    "aria-label": `Map of ${units.length} parts from left to right, of ${ui.data.net}: ${units.map((i) => parts[i].name).join(", ")}. The tree below has the same, by keyboard.` }, ui.body);
  const side = (part) => (part.shape?.length === 3 ? part.shape[2] : 0);
  const highest = Math.max(1, ...units.map((i) => side(parts[i])));
  const most = { parameters: Math.max(1, ...units.map((i) => parts[i].parameters)), macs: Math.max(1, ...units.map((i) => parts[i].macs)) };
  svgOf("text", { x: 0, y: 100 }, map, "map");
  svgOf("text", { x: 0, y: 176 }, map, "parameters");
  svgOf("text", { x: 0, y: 240 }, map, "multiply-adds");
  let shown = "", room = 0;
  const boxes = units.map((i, n) => {
    const part = parts[i], x = LEFT + n * wide, tall = 8 + 78 * Math.sqrt(side(part) / highest);
    const group = svgOf("g", { class: "unit" }, map);
    group.addEventListener("click", () => reach(i));
    svgOf("title", {}, group, sentence(i));
    svgOf("rect", { x, y: 0, width: wide, height: 262, fill: "transparent", stroke: "none", style: "stroke: none" }, group);
    svgOf("rect", { x: x + 1.5, y: TOP - tall, width: wide - 3, height: tall, fill: ink(n) }, group);
    for (const [what, base] of [["parameters", 184], ["macs", 248]]) {
      const height = Math.max(1, (44 * part[what]) / most[what]);
      svgOf("rect", { x: x + 1.5, y: base - height, width: wide - 3, height, fill: ink(n), style: "stroke: none" }, group);
    }
    const label = side(part) ? `${part.shape[0]} × ${part.shape[1]}²` : times(part.shape);
    const name = part.shape?.length === 3 && part.shape[1] !== part.shape[2] ? times(part.shape) : label;
    if (name !== shown && x >= room) { svgOf("text", { x: x + 1.5, y: TOP - tall - 5 }, map, name); room = x + 6.6 * name.length; shown = name; }
    return group;
  });
  // Under them, the stages: what several units have in common.
  const family = units.map((i) => (parts[i].parent ? parts[parts[i].parent].label : parts[i].label));
  for (let n = 0, end; n < units.length; n = end) {
    for (end = n + 1; end < units.length && family[end] === family[n];) end++;
    const [x0, x1] = [LEFT + n * wide + 2, LEFT + end * wide - 2];
    svgOf("line", { x1: x0, x2: x1, y1: 255, y2: 255, class: "nw-grid" }, map);
    if (7 * family[n].length <= x1 - x0 + 14) svgOf("text", { x: (x0 + x1) / 2, y: 271, "text-anchor": "middle" }, map, family[n]);
  }

  // The tree --------------------------------------------------------------------------------------------------------
  const tools = make(ui.body, "div", { class: "nw-row", style: "margin-top: 10px" });
  const levels = [["stages", 2], ["blocks", 3], ["parts", 4], ["tensors", 99]];
  make(tools, "span", { class: "nw-label" }, "Unfold to");
  levels.forEach(([name, level]) => button(tools, name, () =>
    ui.choose({ open: parts.flatMap((part, i) => (inner[i].length && part.level < level ? [i] : [])) })));
  const head = make(ui.body, "div", { class: "nw-arch-line nw-arch-head", "aria-hidden": "true" });
  for (const [text, end] of [["part"], ["what it is"], ["output", true], ["stride", true],
    [`parameters (${number(parameters / 1e6)} M)`], [`multiply-adds (${number(macs / 1e9)} G)`]]) make(head, "span", end ? { class: "end" } : {}, text);
  const tree = make(ui.body, "div", { class: "nw-arch-tree", role: "tree", "aria-label": `The parts of ${ui.data.net}` });
  make(ui.body, "p", { class: "nw-note", style: "margin-top: 6px" },
    `${ui.data.counted} For one picture of ${times(ui.data.input)}. No random twin: the map is the same for any weights.`);

  const isOpen = (i) => ui.choice.open.includes(i);
  function visible() {
    const rows = [];
    (function add(i) { rows.push(i); if (isOpen(i)) inner[i].forEach(add); })(0);
    return rows;
  }
  function above(i) {
    const chain = [];
    for (let at = parts[i].parent; at !== null; at = parts[at].parent) chain.push(at);
    return chain;
  }
  /** Choose a part wherever it is, unfolding what it is in. */
  function reach(i) { ui.choose({ part: i, open: [...new Set([...ui.choice.open, ...above(i)])] }); }
  function fold(i, open) {
    const rest = ui.choice.open.filter((it) => it !== i);
    ui.choose({ part: i, open: open ? [...rest, i] : rest });
  }
  tree.addEventListener("keydown", (event) => {
    const rows = visible(), i = ui.choice.part, at = rows.indexOf(i);
    const go = { ArrowDown: () => ui.choose({ part: rows[Math.min(at + 1, rows.length - 1)] }),
      ArrowUp: () => ui.choose({ part: rows[Math.max(at - 1, 0)] }),
      Home: () => ui.choose({ part: 0 }), End: () => ui.choose({ part: rows.at(-1) }),
      ArrowRight: () => inner[i].length && (isOpen(i) ? ui.choose({ part: inner[i][0] }) : fold(i, true)),
      ArrowLeft: () => (isOpen(i) && inner[i].length ? fold(i, false) : parts[i].parent !== null && ui.choose({ part: parts[i].parent })),
      Enter: () => inner[i].length && fold(i, !isOpen(i)), " ": () => inner[i].length && fold(i, !isOpen(i)) }[event.key];
    if (!go) return;
    event.preventDefault();
    event.stopPropagation();
    go();
    tree.querySelector('[aria-selected="true"]')?.focus();
  });

  function shareBar(parent, value, total, empty) {
    const box = make(parent, "span", { class: "nw-arch-share" });
    if (empty) return;
    make(box, "b", {}, share(value / (total || 1)));
    const track = make(box, "span", { class: "nw-track" });
    make(track, "span", { class: "nw-fill", style: `left: 0; width: ${(100 * value) / (total || 1)}%` });
  }
  function item(i) {
    const part = parts[i], folds = inner[i].length > 0, isTensor = part.kind !== "module";
    const siblings = part.parent === null ? [0] : inner[part.parent];
    const row = make(tree, "div", { role: "treeitem", "aria-level": part.level, "aria-setsize": siblings.length, "aria-posinset": siblings.indexOf(i) + 1,
      "aria-expanded": folds ? String(isOpen(i)) : null, "aria-selected": String(i === ui.choice.part), tabindex: i === ui.choice.part ? 0 : -1,
      "aria-label": sentence(i), class: isTensor ? "nw-arch-line tensor" : "nw-arch-line", "data-part": i,
      onclick: () => { folds ? fold(i, !isOpen(i)) : ui.choose({ part: i }); tree.querySelector('[aria-selected="true"]')?.focus({ preventScroll: true }); } });
    const name = make(row, "span", { style: `padding-left: ${16 * (part.level - 1)}px`, title: part.name });
    make(name, "span", { class: "nw-arch-twist" }, folds ? (isOpen(i) ? "▾" : "▸") : "");
    name.append(part.label);
    make(row, "span", { title: part.what }, part.runs || isTensor ? part.what : `${part.what} (never run)`);
    make(row, "span", { class: "end" }, times(part.shape));
    make(row, "span", { class: "end" }, part.stride ? number(part.stride) : "");
    shareBar(row, part.parameters, parameters, part.kind === "buffer" || part.kind === "products");
    shareBar(row, part.macs, macs, part.kind === "buffer" || (part.kind === "parameter" && !part.macs));
  }

  let built = "";
  function draw() {
    if (!visible().includes(ui.choice.part)) ui.choice.part = above(ui.choice.part).find((it) => visible().includes(it)) ?? 0;
    const held = tree.contains(document.activeElement), wanted = ui.choice.open.join();
    if (wanted !== built) {
      built = wanted;
      const scrolled = tree.scrollTop;
      tree.replaceChildren();
      visible().forEach(item);
      tree.scrollTop = scrolled;
    }
    const before = tree.querySelector('[aria-selected="true"]'), row = tree.querySelector(`[data-part="${ui.choice.part}"]`);
    for (const [it, is] of [[before, false], [row, true]]) {
      it?.setAttribute("aria-selected", String(is));
      if (it) it.tabIndex = is ? 0 : -1;
    }
    if (held) row.focus({ preventScroll: true });
    if (row.offsetTop - tree.offsetTop < tree.scrollTop) tree.scrollTop = row.offsetTop - tree.offsetTop;
    if (row.offsetTop - tree.offsetTop + row.offsetHeight > tree.scrollTop + tree.clientHeight) tree.scrollTop = row.offsetTop - tree.offsetTop + row.offsetHeight - tree.clientHeight;
    const within = [ui.choice.part, ...above(ui.choice.part)];
    boxes.forEach((box, n) => {
      box.classList.toggle("chosen", within.includes(units[n]));
      box.classList.toggle("inside", ui.choice.part !== 0 && !within.includes(units[n]) && above(units[n]).includes(ui.choice.part));
    });
    ui.say(sentence(ui.choice.part));
  }
  const table = () => ({
    caption: `The parts that are unfolded, of ${ui.data.net}`,
    head: ["part", "what it is", "output", "parameters", "multiply-adds"],
    rows: visible().map((i) => [parts[i].name || ui.data.net, parts[i].what, times(parts[i].shape), whole(parts[i].parameters), whole(parts[i].macs)]),
  });
  return { draw, table };
}
