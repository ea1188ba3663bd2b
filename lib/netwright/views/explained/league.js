// The league table: a row a map and net, its score with interval beside its random twin's, and the line of chance.

function view(ui) {
  const { rows, chance, methods, words } = ui.data;
  const nets = [...new Set(rows.map((row) => row.net))], groups = [...new Set(rows.map((row) => row.group))].reverse();
  const known = Object.keys(words).filter((score) => rows.some((row) => row[score]));
  const first = { score: "pointing", group: "all", net: nets.at(-1), sort: "score", down: true };
  for (const [name, value] of Object.entries(first)) ui.choice[name] ??= value;
  const wide = 300, low = (score) => ui.data.best_is_low.includes(score);
  const share = (score) => score === "pointing" || score === "mass";
  const read = (score, v) => (share(score) ? percent(v) : number(v));

  const top = make(ui.body, "div", { class: "nw-row" });
  segments(top, "Score", known.map((it) => [it, words[it][0]]), ui.choice.score,
    (score) => ui.choose({ score, sort: "score", down: !low(score) }));
  menu(top, "Net", [...nets.map((net) => [net, net]), ["every", "all nets"]], ui.choice.net, (net) => ui.choose({ net }));
  menu(top, "What causes the label", groups.map((it) => [it, it === "all" ? "anything" : it]), ui.choice.group, (group) => ui.choose({ group }));
  const note = make(ui.body, "p", { class: "nw-note" });
  const box = make(ui.body, "div", { class: "nw-table", style: "max-height:none;margin-top:6px" });
  const key = make(ui.body, "div", { class: "nw-key", style: "margin-top:6px" });
  for (const [style, text] of [["3px solid", "trained: dot, and 95 % interval"], ["2px dotted", "random weights: ring, and interval"], ["2px dashed", "chance"]]) {
    const item = make(key, "span");
    make(item, "i", { style: `border-top: ${style} var(--nw-ink)`, "aria-hidden": "true" });
    item.append(text);
  }

  /** The rows that are shown, with the numbers that they can be sorted by. */
  function chosen() {
    const { score, group, net, sort, down } = ui.choice;
    const here = rows.filter((row) => row.group === group && (net === "every" || row.net === net) && row[score]);
    const found = here.map((row) => ({
      row, title: methods[row.method].title, kind: methods[row.method].kind, net: row.net, score: row[score],
      twin: row.twin?.[score] ?? null, agreement: row.twin?.agreement ?? null,
      lead: row.twin ? row[score][0] - row.twin[score][0] : null,
    }));
    const value = { score: (it) => it.score[0], twin: (it) => it.twin?.[0], lead: (it) => it.lead, agreement: (it) => it.agreement?.[0] }[sort];
    const order = value
      ? (a, b) => (value(a) ?? -Infinity) - (value(b) ?? -Infinity) // what has no number comes last, or first
      : (a, b) => (a[sort] < b[sort] ? -1 : a[sort] > b[sort] ? 1 : 0);
    found.sort((a, b) => (down ? order(b, a) : order(a, b)));
    return found;
  }

  const heads = () => [["title", "Map"], ...(ui.choice.net === "every" ? [["net", "Net"]] : []), ["score", "Score"], [null, "0"], ["twin", "Random weights"], ["lead", "Difference"], ["agreement", "Agreement"]];
  const triple = (score, it) => (it ? `${read(score, it[0])} (${read(score, it[1]).replace(" %", "")} to ${read(score, it[2]).replace(" %", "")})` : "–");
  const points = (score, it) => (it === null ? "–" : share(score) ? `${signed(100 * it, 2)} points` : signed(it));

  function svg(parent, reach, line, { score, twin }) {
    const NS = "http://www.w3.org/2000/svg", box = document.createElementNS(NS, "svg");
    box.setAttribute("width", wide);
    box.setAttribute("height", 20);
    box.setAttribute("aria-hidden", "true"); // the numbers stand beside it
    const x = (v) => 8 + (Math.min(v, reach) / reach) * (wide - 16);
    const add = (tag, attributes) => {
      const element = document.createElementNS(NS, tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      box.append(element);
    };
    add("line", { x1: x(line), x2: x(line), y1: 0, y2: 20, stroke: "var(--nw-ink)", "stroke-dasharray": "4 3", "stroke-width": 1 });
    if (twin) {
      add("line", { x1: x(twin[1]), x2: x(twin[2]), y1: 14, y2: 14, stroke: "var(--nw-soft)", "stroke-width": 1.5, "stroke-dasharray": "2 2" });
      add("circle", { cx: x(twin[0]), cy: 14, r: 3.5, fill: "var(--nw-ground)", stroke: "var(--nw-soft)", "stroke-width": 1.5 });
    }
    add("line", { x1: x(score[1]), x2: x(score[2]), y1: 7, y2: 7, stroke: "var(--nw-strong)", "stroke-width": 2.5 });
    add("circle", { cx: x(score[0]), cy: 7, r: 4.5, fill: "var(--nw-strong)" });
    parent.append(box);
  }

  function lineOf(score, group, net) {
    return share(score) ? chance[net === "every" ? nets[0] : net][group] : 1;
  }

  function draw() {
    const { score, group, net, sort, down } = ui.choice;
    const found = chosen(), line = lineOf(score, group, net);
    const most = Math.max(line, ...found.flatMap((it) => [it.score[2], it.twin?.[2] ?? 0]));
    const reach = share(score) ? 1 : Math.ceil(most * 2) / 2;
    note.textContent = `${words[score][0]}: ${words[score][1]}. Dashed: chance, ${read(score, line)}. ` +
      `${found[0]?.row.of ?? 0} pictures of the test split that the net gets right.`;
    box.replaceChildren();
    const sheet = make(box, "table");
    make(sheet, "caption", {}, `${words[score][0]}, ${net === "every" ? "all nets" : net}. Brackets: the ends of the 95 % interval. Difference: trained less random weights; agreement: rank correlation of the two maps. Press a heading to sort by it.`);
    const head = make(make(sheet, "thead"), "tr");
    for (const [name, text] of heads()) {
      const cell = make(head, "th", { scope: "col", "aria-sort": name === sort ? (down ? "descending" : "ascending") : null, style: "position:static" });
      if (name === null) {
        cell.style.textAlign = "left";
        cell.textContent = `0 to ${read(score, reach)}`;
      } else {
        const mark = name === sort ? (down ? " ▼" : " ▲") : "";
        button(cell, text + mark, () => { ui.choose({ sort: name, down: name === sort ? !down : !["title", "net"].includes(name) }); focusOn(name); }, { "data-sort": name });
      }
    }
    const body = make(sheet, "tbody");
    for (const it of found) {
      const tr = make(body, "tr", { "data-method": it.row.method, "data-net": it.net });
      const tag = { control: ", a control", looks: ", no explanation" }[it.kind] ?? "";
      make(tr, "th", { scope: "row", style: "text-align:left" }, it.title + tag);
      if (net === "every") make(tr, "td", {}, it.net);
      make(tr, "td", { style: "white-space:nowrap" }, triple(score, it.score));
      svg(make(tr, "td", { style: "padding:0" }), reach, share(score) ? chance[it.net][group] : 1, it);
      make(tr, "td", { style: "white-space:nowrap" }, triple(score, it.twin));
      make(tr, "td", { style: "white-space:nowrap" }, points(score, it.lead));
      make(tr, "td", {}, it.agreement ? it.agreement[0].toFixed(2).replace("-", MINUS) : "–");
    }
    const better = (a, b) => (low(score) ? a < b : a > b);
    const explaining = found.filter((it) => it.kind === "explains");
    const best = explaining.reduce((a, b) => (better(b.score[0], a.score[0]) ? b : a));
    const worst = explaining.reduce((a, b) => (better(b.score[0], a.score[0]) ? a : b));
    const clear = explaining.filter((it) => (low(score) ? it.score[2] < it.twin[1] : it.score[1] > it.twin[2])).length;
    const edges = found.find((it) => it.row.method === "edges");
    const beaten = edges ? `, ${explaining.filter((it) => better(it.score[0], edges.score[0])).length} beat the picture's edges` : "";
    const named = (it) => it.title + (net === "every" ? ` on ${it.net}` : "");
    ui.say(`${net === "every" ? "All nets" : net}: best ${named(best)}, ${triple(score, best.score)}; worst ${named(worst)}, ${triple(score, worst.score)}. ` +
      `Of ${explaining.length} explanations ${clear} are clear of their random twin${beaten}; chance is ${read(score, line)}.`);
  }

  function focusOn(name) {
    box.querySelector(`[data-sort="${name}"]`)?.focus();
  }

  function table() {
    const { score } = ui.choice;
    return {
      caption: `${words[score][0]}: value, and the ends of its 95 % interval`,
      head: ["map", "net", "score", "low", "high", "twin", "twin low", "twin high"],
      rows: chosen().map((it) => [it.title, it.net, ...it.score, ...(it.twin ?? ["–", "–", "–"])]),
    };
  }
  return { draw, table };
}
