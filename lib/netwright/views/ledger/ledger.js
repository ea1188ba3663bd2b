// The ledger: a logit as bars that add up to it, where in the picture each bar comes from, and the net run again
// without one. Python sends the sums of some classes; with a kernel any class and any pair can be asked for.

const INSTEAD = { mean: "its mean over the picture", zero: "zero", dataset: "its mean over other pictures" };

/** One class of what Python sent, so that two classes can be subtracted. */
function columnOf(data, i) {
  const mapped = (maps, j) => (i < maps.shape[0] ? slice(maps, i, j) : null);
  return {
    name: data.names[i], number: data.classes[i], logit: data.logits[i], extras: slice(data.extras, i),
    extraMap: (k) => (k < data.extra_maps.shape[1] ? mapped(data.extra_maps, k) : null),
    ways: data.ways.map((way) => ({
      terms: slice(way.terms, i),
      map: (j) => mapped(way.maps, j),
      predicted: (baseline) => slice(way.predicted[baseline], i),
      rerun: (baseline) => (way.rerun ? slice(way.rerun[baseline], i) : null),
      pair: (baseline, a, b) => (way.pairs ? slice(way.pairs[baseline], i, a)[b] : null),
    })),
  };
}

function view(ui) {
  const { data, choice } = ui;
  const columns = data.names.map((_, i) => columnOf(data, i));
  const asked = {}; // what the net answered when it was run again: key -> {change, top}
  // Zero is nothing that the net has ever seen, but in the last block, whose map is averaged anyway, a mean changes nothing.
  const baseline = data.baselines.includes("dataset") ? "dataset" : data.exact ? "zero" : "mean";
  const begin = { column: 0, against: -1, way: 0, term: "0", also: -1, baseline, scale: "layer", cell: null };
  for (const [name, value] of Object.entries(begin)) choice[name] ??= value;

  // What is chosen, as numbers -------------------------------------------------------------------------------------
  const column = () => columns[Math.min(choice.column, columns.length - 1)];
  const other = () => (choice.against < 0 ? null : columns[Math.min(choice.against, columns.length - 1)]);
  const way = () => data.ways[Math.min(choice.way, data.ways.length - 1)];
  const minus = (a, b) => (a === null || b === null ? null : typeof a === "number" ? a - b : Float32Array.from(a, (x, i) => x - b[i]));
  /** pick(column), less the same of the class it is compared with. */
  function chosen(pick) {
    const value = pick(column());
    return other() ? minus(value, pick(other())) : value;
  }
  const terms = () => chosen((c) => c.ways[choice.way].terms);
  const extras = () => chosen((c) => c.extras);
  const mapOf = (key) => (key[0] === "e" ? chosen((c) => c.extraMap(Number(key.slice(1)))) : chosen((c) => c.ways[choice.way].map(Number(key))));
  const shape = () => way().maps.shape.slice(2);
  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const labelOf = (key) => (key[0] === "e" ? data.extra_labels[Number(key.slice(1))] : way().labels[Number(key)]);
  const predicted = () => chosen((c) => c.ways[choice.way].predicted(choice.baseline));
  const keyOf = (out) => [choice.way, choice.baseline, ...out].join();
  /** The change of the chosen logit when the net is run again without these terms, or null where nobody asked yet. */
  function rerun(out) {
    const known = out.length === 1 ? chosen((c) => { const all = c.ways[choice.way].rerun(choice.baseline); return all && all[out[0]]; })
      : chosen((c) => c.ways[choice.way].pair(choice.baseline, ...out));
    if (known !== null) return known;
    const answer = asked[keyOf(out)];
    return answer ? chosen((c) => answer.change[answer.classes.indexOf(c.number)] ?? null) : null;
  }
  const topWithout = (j) => way().top?.[choice.baseline][j] ?? asked[keyOf([j])]?.top ?? null;
  async function ask(out) {
    const key = keyOf(out), classes = columns.map((c) => c.number);
    if (!ui.live || asked[key]?.classes.length === classes.length) return;
    const answer = await ui.ask({ ask: "out", way: choice.way, terms: out, baseline: choice.baseline, classes });
    if (answer) { asked[key] = { ...answer, classes }; draw(); }
  }

  // Controls -------------------------------------------------------------------------------------------------------
  const first = make(ui.body, "div", { class: "nw-row" });
  const named = (c, i) => [i, `${c.name} (${signed(c.logit)})`];
  let classMenu, againstMenu;
  function menus() {
    first.querySelectorAll(".nw-field").forEach((it) => it.remove());
    classMenu = menu(first, "Class", columns.map(named), choice.column, (i) => ui.choose({ column: i }));
    againstMenu = menu(first, "minus class", [[-1, "none"], ...columns.map(named)], choice.against, (i) => ui.choose({ against: i }));
    if (any) first.append(any);
  }
  let any = null;
  if (ui.live) {
    any = make(null, "form", { class: "nw-segments", onsubmit: addClass });
    make(any, "input", { type: "text", "aria-label": "Any class by name", placeholder: "any class by name", list: uniqueId("names") });
    button(any, "Add", () => {}, { type: "submit" });
  }
  async function addClass(event) {
    event.preventDefault();
    const name = any.querySelector("input").value.trim();
    let at = columns.findIndex((c) => c.name === name);
    if (at < 0) {
      const answer = await ui.ask({ ask: "class", name });
      if (!answer) return; // why not is said under the view
      at = columns.push(columnOf(answer, 0)) - 1;
    }
    ui.choose({ column: at });
    menus();
  }
  menus();
  const second = make(ui.body, "div", { class: "nw-row" });
  if (data.ways.length > 1) {
    segments(second, "Cut by", data.ways.map((w, i) => [i, w.name]), choice.way, (i) => ui.choose({ way: i, term: choice.term[0] === "e" ? choice.term : "0", also: -1 }));
  }
  segments(second, "Knocked out: put in", data.baselines.map((b) => [b, INSTEAD[b]]), choice.baseline, (b) => ui.choose({ baseline: b }));
  const note = make(ui.body, "p", { class: "nw-note", style: "margin-bottom:8px" });

  const sides = make(ui.body, "div", { class: "nw-columns" });
  const left = make(sides, "div", { style: "flex: 1 1 420px; min-width: 320px" });
  const termsTitle = make(left, "strong");
  const termBars = bars(left, { label: "Terms of the sum", unit: "", onPick: (term) => ui.choose({ term, also: -1 }) });
  left.querySelector(".nw-bars").style.maxHeight = "460px";
  const sumTitle = make(left, "strong", { style: "display:block; margin-top:10px" });
  const sumBars = bars(left, { label: "The whole sum", unit: "", sortable: false, onPick: (term) => ui.choose(term === "all" ? {} : { term }) });

  const right = make(sides, "div", { style: "flex: 1 1 480px; min-width: 320px" });
  const mapTitle = make(right, "strong");
  const panes = make(right, "div", { class: "nw-columns", style: "gap: 10px; margin: 6px 0" });
  const [rows, across] = shape(), side = 240, tall = Math.round((side * rows) / across);
  const cell = () => choice.cell ?? [Math.floor(rows / 2), Math.floor(across / 2)];
  const map = pickable(panes, side, tall, rows, across, { label: "", at: cell, onPick: (row, col) => ui.choose({ cell: [row, col] }) });
  const photo = picture(panes, side, tall, "");
  const image = new Image();
  image.onload = () => draw();
  image.src = data.picture;
  const key = make(right, "div");
  const bar = legend(key, { low: 0, high: 0, map: "diverging", raw: [0, 0] }, "logit units a position");
  const mapNote = make(right, "p", { class: "nw-note", hidden: true }, "The page holds the maps of the first classes only: in a notebook, ask for this class by name.");
  const scaleRow = make(right, "div", { class: "nw-row" });
  segments(scaleRow, "Colours", [["unit", "this map's own"], ["layer", "one scale for all terms"]], choice.scale, (scale) => ui.choose({ scale }));
  const outTitle = make(right, "strong", { style: "display:block; margin-top:6px" });
  const out = make(right, "div");
  const partner = make(right, "div", { class: "nw-row", style: "margin-top:6px" });

  // Drawing --------------------------------------------------------------------------------------------------------
  const ofWhat = () => (other() ? `“${column().name}” minus “${other().name}”` : `“${column().name}”`);
  function draw() {
    const values = terms(), more = extras();
    note.textContent = way().note;
    termsTitle.textContent = `${values.length} terms of ${ofWhat()} ${data.exact ? "" : "(to first order) "}in logit units`;
    termBars.draw([...values].map((value, j) => ({ key: String(j), label: way().labels[j], value })), choice.term);
    const total = [...values].reduce((a, b) => a + b, 0);
    sumTitle.textContent = `The whole sum: ${signed(total + [...more].reduce((a, b) => a + b, 0))}`;
    sumBars.draw([{ key: "all", label: "terms together", value: total },
      ...[...more].map((value, k) => ({ key: `e${k}`, label: data.extra_labels[k], value }))], choice.term);
    drawMap();
    drawKnocked();
    say();
  }

  function drawMap() {
    const values = mapOf(choice.term), [row, col] = cell();
    mapTitle.textContent = `Where ${labelOf(choice.term)} adds to the logit (${rows} × ${across} positions)`;
    map.hidden = key.hidden = values === null;
    mapNote.hidden = values !== null || choice.term[0] === "e";
    photo.getContext("2d").drawImage(image, 0, 0, side, tall);
    const [w, h] = [side / across, tall / rows];
    outline(photo, col * w, row * h, w, h);
    photo.setAttribute("aria-label", `The picture; the outline is the cell at row ${row}, column ${col}.`);
    if (values === null) return;
    const all = choice.scale === "layer" && choice.term[0] !== "e"
      ? way().labels.flatMap((_, j) => [...(mapOf(String(j)) ?? [])]) : values;
    const scale = { ...limits(all, true), raw: extent(values) };
    heat(map, values, rows, across, scale);
    outline(map, col * w, row * h, w, h, { ink: "#000000", dash: [4, 3] });
    map.setAttribute("aria-label", `Share of ${labelOf(choice.term)} by position, ${rows} × ${across}; arrow keys move, now row ${row}, column ${col}: ${signed(values[row * across + col])}.`);
    bar.draw(scale);
  }

  function drawKnocked() {
    out.replaceChildren();
    partner.replaceChildren();
    const guess = predicted(), found = [...guess].map((_, j) => rerun([j]));
    const known = found.map((_, j) => j).filter((j) => found[j] !== null);
    outTitle.textContent = `Without a term: predicted, and run again`;
    if (known.length === 0) {
      make(out, "p", { class: "nw-note" }, ui.live ? "Choose a term: the net is run again without it." : "The net was not run again for this block; a notebook with a kernel does it when a term is chosen.");
    } else {
      scatter(out, known.map((j) => ({ key: String(j), name: way().labels[j], x: guess[j], y: found[j], flips: topWithout(j) !== data.top1 })));
    }
    if (choice.term[0] === "e") return;
    const one = Number(choice.term);
    if (found[one] === null) ask([one]);
    if (way().labels.length < 2 || !(ui.live || way().pairs)) return;
    const options = [[-1, "nothing else"], ...way().labels.map((label, j) => [j, label]).filter(([j]) => j !== one)];
    menu(partner, `Take out ${labelOf(choice.term)} and`, options, choice.also, (also) => ui.choose({ also }));
    if (choice.also >= 0 && rerun([one, choice.also]) === null) ask([one, choice.also]);
  }

  /** Predicted across, re-run up; on the dashed line the ledger was right. A square: the likeliest class changes. */
  function scatter(parent, points) {
    const NS = "http://www.w3.org/2000/svg", width = 480, height = 260, [l, b, t, r] = [82, 40, 10, 12];
    const svg = document.createElementNS(NS, "svg");
    const flips = points.filter((p) => p.flips).length;
    const attributes = { viewBox: `0 0 ${width} ${height}`, width, role: "img", class: "nw-lines",
      "aria-label": `Predicted against re-run change of ${points.length} terms; ${flips} change the likeliest class.` };
    for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
    const [low, high] = extent(points.flatMap((p) => [p.x, p.y, 0]));
    const pad = (high - low || 1) * 0.06, from = low - pad, to = high + pad;
    const px = (v) => l + ((v - from) / (to - from)) * (width - l - r), py = (v) => height - b - ((v - from) / (to - from)) * (height - b - t);
    const add = (tag, attributes, text) => {
      const element = document.createElementNS(NS, tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (text) element.textContent = text;
      svg.append(element);
      return element;
    };
    for (const v of [low, (low + high) / 2, high]) {
      add("line", { x1: l, x2: width - r, y1: py(v), y2: py(v), class: "nw-grid" });
      add("line", { y1: t, y2: height - b, x1: px(v), x2: px(v), class: "nw-grid" });
      add("text", { x: l - 6, y: py(v) + 4, "text-anchor": "end" }, signed(v, 2));
      add("text", { x: px(v), y: height - b + 16, "text-anchor": "middle" }, signed(v, 2));
    }
    add("line", { x1: px(from), y1: py(from), x2: px(to), y2: py(to), class: "nw-mark" });
    add("text", { x: (l + width) / 2, y: height - 4, "text-anchor": "middle" }, "predicted change of the logit");
    add("text", { x: 12, y: height / 2, transform: `rotate(-90 12 ${height / 2})`, "text-anchor": "middle" }, "change when run again");
    for (const p of [...points].sort((a, b) => (a.key === choice.term) - (b.key === choice.term))) {
      const mine = p.key === choice.term, size = mine ? 7 : 4;
      const style = `cursor:pointer; stroke: var(--nw-ink); stroke-width: ${mine ? 2 : 0}; fill: var(${p.flips ? "--nw-negative" : "--nw-strong"})`;
      const mark = p.flips ? add("rect", { x: px(p.x) - size, y: py(p.y) - size, width: 2 * size, height: 2 * size, style })
        : add("circle", { cx: px(p.x), cy: py(p.y), r: size, style });
      const hint = document.createElementNS(NS, "title");
      hint.textContent = `${p.name}: predicted ${signed(p.x)}, run again ${signed(p.y)}${p.flips ? ", likeliest class changes" : ""}`;
      mark.append(hint);
      mark.addEventListener("click", () => ui.choose({ term: p.key, also: -1 }));
    }
    parent.append(svg);
    make(parent, "p", { class: "nw-note" }, `On the dashed line the ledger is right. The likeliest class changes for ${flips} of ${points.length}${flips ? " (squares)" : ""}.`
      + (choice.baseline === "mean" ? " A mean keeps what a term says on the whole, and loses where it says it." : ""));
  }

  function say() {
    const values = mapOf(choice.term), [row, col] = cell();
    const at = values ? ` At row ${row}, column ${col}: ${signed(values[row * across + col])}.` : "";
    if (choice.term[0] === "e") {
      ui.say(`${capital(labelOf(choice.term))} gives ${signed(extras()[Number(choice.term.slice(1))])} of ${signed(chosen((c) => c.logit))}, ${ofWhat()}.${at}`);
      return;
    }
    const j = Number(choice.term), all = terms();
    const rank = [...all].filter((v) => v > all[j]).length + 1;
    let text = `${capital(labelOf(choice.term))} ${/^channels/.test(labelOf(choice.term)) ? "give" : "gives"} ${signed(all[j])} of ${signed(chosen((c) => c.logit))}, ${ofWhat()} (rank ${rank} of ${all.length}).${at}`;
    const found = rerun([j]), top = topWithout(j);
    if (found !== null) {
      text += ` Replaced by ${INSTEAD[choice.baseline]}: predicted ${signed(predicted()[j])}, run again ${signed(found)}; likeliest class ${top === data.top1 ? "stays" : "becomes"} “${top}”.`;
    }
    const both = choice.also < 0 ? null : rerun([j, choice.also]), second = choice.also < 0 ? null : rerun([choice.also]);
    if (both !== null) {
      text += ` With ${way().labels[choice.also]} out too: ${signed(both)}`;
      text += second === null ? "." : `, of which ${signed(both - found - second)} is interaction.`;
    }
    ui.say(text);
  }

  function table() {
    const values = terms(), guess = predicted();
    const rows = [...values].map((value, j) => {
      const found = rerun([j]);
      return [way().labels[j], signed(value), signed(guess[j]), found === null ? "–" : signed(found), found === null ? "–" : signed(found - guess[j]), topWithout(j) ?? "–"];
    });
    [...extras()].forEach((value, k) => rows.push([data.extra_labels[k], signed(value), "–", "–", "–", "–"]));
    return { caption: `${ofWhat()}: ${way().name} in ${data.block}, logit units; each term replaced by ${INSTEAD[choice.baseline]}`,
      head: ["term", "share", "predicted change", "run again", "gap", "likeliest class then"], rows };
  }
  return { draw, table };
}
