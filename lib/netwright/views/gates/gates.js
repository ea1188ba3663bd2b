// The gates of all split attentions as a strip: a row for a layer, a cell for a channel. Below it three sheets: what
// attention adds, what other gates would change, and what the gates know of classes. Uses kit.js.

function view(ui) {
  const data = ui.data, layers = data.layers, many = layers.length;
  const short = layers.map((name) => name.replace("stages.", ""));
  const two = (layer) => data.radix[layer] === 2;
  const rowsOf = (layer) => data.strip[layer].shape[0];
  const rows = layers.flatMap((_, layer) => Array.from({ length: rowsOf(layer) }, (_, split) => ({ layer, split })));
  const widest = Math.max(...data.channels);
  const allTwo = layers.every((_, i) => two(i)), allOne = layers.every((_, i) => data.radix[i] === 1);
  ui.choice.sheet ??= "adds";
  ui.choice.show ??= "own";
  ui.choice.sort ??= "mean";
  ui.choice.scope ??= "all layers";
  ui.choice.change ??= data.changes[0][0];
  ui.choice.share ??= 1;
  ui.choice.row = Math.min(ui.choice.row ?? 0, rows.length - 1);
  ui.choice.channel = Math.min(ui.choice.channel ?? order(rows[ui.choice.row].layer)[0], data.channels[rows[ui.choice.row].layer] - 1);

  // The strip -------------------------------------------------------------------------------------------------------

  const shown = { own: "this picture", mean: "mean of the set", difference: "this picture − mean" };
  if (data.eta2) shown.eta2 = "share between classes, η²";
  data.donors.forEach((_, i) => { shown[`donor ${i}`] = data.changes[3 + i][1].replace("those of: ", ""); });
  for (const name of Object.keys(data.classes)) shown[`class ${name}`] = `mean of class ${name}`;
  const top = make(ui.body, "div", { class: "nw-row" });
  menu(top, "Gates of", Object.entries(shown), ui.choice.show, (show) => ui.choose({ show }));
  segments(top, "Channels", [["mean", "by mean of the set"], ["own", "by this picture"], ["net", "as in the net"]], ui.choice.sort, (sort) => ui.choose({ sort }));

  function values(layer) {
    const { show } = ui.choice;
    if (show === "difference") return data.strip[layer].map((v, i) => v - data.mean[layer][i]);
    if (show.startsWith("donor")) return data.donors[Number(show.slice(6))][layer];
    if (show.startsWith("class")) return data.classes[show.slice(6)][layer];
    return { own: data.strip, mean: data.mean, eta2: data.eta2 }[show][layer];
  }
  function order(layer) {
    const by = { own: data.strip, mean: data.mean }[ui.choice.sort]?.[layer];
    const numbers = Array.from({ length: data.channels[layer] }, (_, i) => i);
    return by ? numbers.sort((a, b) => by[b] - by[a]) : numbers; // by the first row: d, or the gate of split 0
  }
  function scaleOf(layer) {
    if (ui.choice.show === "eta2") return { low: 0, high: 1, map: "sequential" };
    const isSigned = two(layer) || ui.choice.show === "difference";
    return isSigned ? { low: -0.5, high: 0.5, map: "diverging" } : { low: 0, high: 1, map: "sequential" };
  }
  function unit() {
    if (ui.choice.show === "eta2") return "of the variance over the set lies between classes";
    if (allTwo) return "d = (a₀ − a₁)/2: below zero prefers split 1, above split 0";
    return allOne ? "gate (a sigmoid: gates of radix 1 sum to nothing)" : `gate of each split (they sum to 1 over the ${Math.max(...data.radix)} splits, one row each)`;
  }

  const tall = Math.max(6, Math.min(26, Math.floor(300 / rows.length))), cell = Math.max(1, Math.floor(940 / widest));
  const strip = make(ui.body, "div", { style: "display: flex; gap: 8px; align-items: flex-start" });
  const names = make(strip, "div", { "aria-hidden": "true", style: `flex: none; width: 3em; font-size: 12px; line-height: 1; text-align: right` });
  layers.forEach((_, layer) => make(names, "div", { style: `height: ${tall * rowsOf(layer)}px; display: flex; align-items: center; justify-content: flex-end` }, short[layer]));
  const canvas = pickable(strip, cell * widest, tall * rows.length, rows.length, widest, {
    label: `Gates: ${many} layers, a cell for each channel. Arrow keys move from channel to channel and from layer to layer.`,
    at: () => [ui.choice.row, rankOf()],
    onPick: (row, rank) => {
      const layer = rows[row].layer;
      ui.choose({ row, channel: order(layer)[Math.min(rank, data.channels[layer] - 1)] });
    },
  });
  canvas.style.height = `${tall * rows.length}px`;
  canvas.style.minWidth = "0";
  const bar = legend(ui.body, { ...scaleOf(0), raw: [0, 0] }, unit());
  let cells = []; // what is drawn, for the table
  const rankOf = () => order(rows[ui.choice.row].layer).indexOf(ui.choice.channel);

  function drawStrip() {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    const all = [];
    cells = rows.map(({ layer, split }, row) => {
      const channels = data.channels[layer], part = values(layer).subarray(split * channels, (split + 1) * channels);
      const sorted = Float32Array.from(order(layer), (channel) => part[channel]);
      for (const v of sorted) if (ui.choice.show !== "eta2" || v >= 0) all.push(v); // below zero: never moves
      heat(canvas, sorted, 1, channels, scaleOf(layer), 0, row * tall, cell * channels, split === rowsOf(layer) - 1 ? tall - 1 : tall);
      return sorted;
    });
    outline(canvas, rankOf() * cell + 1, ui.choice.row * tall + 1, Math.max(cell - 2, 2), tall - 3);
    bar.draw({ ...scaleOf(0), raw: extent(all) });
  }

  // The sheets ------------------------------------------------------------------------------------------------------

  const sheets = make(ui.body, "div", { class: "nw-row", style: "margin-top: 10px" });
  segments(sheets, "Below", [["adds", "what attention adds"], ["other", "other gates"], ["know", "what gates know"]], ui.choice.sheet, (sheet) => ui.choose({ sheet }));
  const adds = make(ui.body, "div"), other = make(ui.body, "div"), know = make(ui.body, "div");

  make(adds, "p", { class: "nw-note" }, (allTwo ? "Output = ½(U₀ + U₁) + d ⊙ (U₀ − U₁): a fixed average, and what attention adds. " :
    allOne ? "Output = ½U + (a − ½)U: half of the map, and what the gate adds. " : "Output = the mean of the splits + what attention adds. ") +
    "Bars: the length of what is added, as a share of the output's (above 1: it cancels a part of the average).");
  const shares = bars(adds, { label: "What attention adds, by layer", unit: "", tall: many <= 8,
    onPick: (layer) => ui.choose({ row: rows.findIndex((row) => row.layer === Number(layer)), channel: order(Number(layer))[0] }) });

  // Other gates: what was forced beforehand, and what the kernel has answered since.
  const known = Object.fromEntries(Object.entries(data.effects).map(([scope, list]) =>
    [scope, Object.fromEntries(list.map((effect, i) => [data.changes[i][0], effect]))]));
  const scopes = ui.live ? { ...data.scopes, ...Object.fromEntries(layers.map((name, i) => [name, [i]])) }
    : Object.fromEntries(Object.entries(data.scopes).filter(([scope]) => known[scope]));
  let twins = data.twin_effects, farther = null, asking = null;
  const controls = make(other, "div", { class: "nw-row" });
  menu(controls, "Force the gates of", Object.keys(scopes).map((name) => [name, name]), ui.choice.scope, (scope) => ui.choose({ scope }));
  if (ui.live) slider(controls, "How far", [0, 0.25, 0.5, 0.75, 1], ui.choice.share, (share) => ui.choose({ share }), percent);
  const table = make(other, "table", { class: "nw-table", style: "border-collapse: collapse; font-size: 13px; overflow: visible" });

  async function want(change) {
    const { scope, share } = ui.choice, key = `${scope} ${change} ${share}`;
    if (!ui.live || asking === key || (share === 1 && known[scope]?.[change])) return;
    asking = key;
    const answer = await ui.ask({ gates: change, layers: scopes[scope], share });
    asking = null;
    if (!answer) return;
    if (share === 1) (known[scope] ??= {})[change] = answer.effect;
    else farther = { key, effect: answer.effect };
    ui.choose({});
  }
  function effect(change) {
    const { scope, share } = ui.choice;
    if (share === 1) return known[scope]?.[change];
    return farther?.key === `${scope} ${change} ${share}` ? farther.effect : null;
  }
  const twinOf = (i) => (ui.choice.share === 1 ? twins?.[ui.choice.scope]?.[i] : null);
  const HEADS = ["gates set to", "its logit", "change", "all logits change by", "of the top 5 kept", "likeliest class now", "random twin: change", "all logits by"];
  function cellsOf([change], i) {
    const e = effect(change), t = twinOf(i);
    const now = e ? [number(e.logit), signed(e.change), percent(e.relative), `${e.kept} of ${e.five.length}`, `${e.first}${e.flips ? " (other)" : ""}`]
      : ["–", ui.live ? "choose" : "–", "–", "–", "–"];
    return [...now, t ? signed(t.change) : "–", t ? percent(t.relative) : "–"];
  }
  function drawOther() {
    table.replaceChildren();
    const withTwin = twins && !ui.random, count = withTwin ? 8 : 6;
    make(table, "caption", {}, `Answer by itself: ${data.own.first}, logit ${number(data.own.logit)}. Changes are of this logit.`);
    const head = make(make(table, "thead"), "tr");
    HEADS.slice(0, count).forEach((text) => make(head, "th", { scope: "col" }, text));
    const body = make(table, "tbody");
    data.changes.forEach((change, i) => {
      const line = make(body, "tr"), first = make(line, "th", { scope: "row" });
      button(first, change[1], () => { ui.choose({ change: change[0] }); table.querySelectorAll("button")[i].focus(); },
        { "aria-pressed": String(change[0] === ui.choice.change), "data-change": change[0] });
      cellsOf(change, i).slice(0, count - 1).forEach((text) => make(line, "td", {}, text));
    });
  }
  if (ui.live && !twins && !ui.random) {
    const ask = button(controls, "Compare with random twin", async () => {
      ask.disabled = true;
      const answer = await ui.ask({ gates: "twin" });
      if (answer) { twins = answer.effects; ask.hidden = true; ui.choose({}); } else ask.disabled = false;
    });
  }
  const donors = make(other, "div", { class: "nw-columns", style: "margin-top: 8px" });
  faces(donors, [data.picture, ...(data.donor_pictures ?? [])], ["this picture", ...data.changes.slice(3).map(([, name]) => name.replace("those of: ", ""))]);

  function faces(parent, pictures, captions) {
    captions.forEach((caption, i) => {
      if (!pictures[i]) return;
      const box = make(parent, "figure", { style: "margin: 0; width: 106px" });
      make(box, "img", { src: pictures[i], alt: caption, width: 84, height: 84, style: "image-rendering: pixelated" });
      make(box, "figcaption", { class: "nw-note" }, caption);
    });
  }

  // What gates know: nothing of it depends on a choice, so it is made once.
  const near = data.neighbours;
  const columns = make(know, "div", { class: "nw-columns" });
  if (data.eta2) {
    const left = make(columns, "div");
    make(left, "p", { class: "nw-note" }, "Share of the gates' variance that lies between classes (η²), by layer");
    const x = layers.map((_, i) => i + 1);
    lines(left, [{ name: "mean over the channels", x, y: data.eta2_layers }, { name: "labels shuffled", x, y: data.eta2_shuffled, dash: [5, 4] }],
      { x: "layer", y: "η²", low: 0, high: 1, height: 200, label: `Share between classes by layer: ${[...data.eta2_layers].map((v) => percent(v)).join(", ")}; with shuffled labels ${percent(data.eta2_shuffled[0])}.` });
  }
  const right = make(columns, "div", { style: "flex: 1 1 380px" });
  make(right, "p", { class: "nw-note" }, `Pictures of the set with the nearest gates, all layers side by side (root mean square difference). Set: ${data.said}.`);
  faces(make(right, "div", { class: "nw-columns" }), data.near_pictures ?? [], near.map((it) => `${it.name}: ${number(it.distance)}`));
  if (!data.near_pictures) make(right, "p", {}, near.map((it) => `${it.name}: ${number(it.distance)}`).join("; "));
  if (data.eta2) make(right, "p", { class: "nw-note" }, `Of the set's pictures, ${percent(data.agree)} have a nearest neighbour of their own class; with shuffled labels ${percent(data.agree_shuffled)}. ` +
    `Likeliest class changed, all layers forced: to one half ${percent(data.flips.even)}, to the set's mean ${percent(data.flips.mean)}, negated ${percent(data.flips.negated)}, another picture's ${percent(data.flips.another)} of the pictures.`);

  // What is seen ----------------------------------------------------------------------------------------------------

  function said() {
    const { layer, split } = rows[ui.choice.row], { sheet, channel, scope, share } = ui.choice;
    const at = split * data.channels[layer] + channel, own = data.strip[layer][at], mean = data.mean[layer][at];
    const what = two(layer) ? `d ${signed(own)} here (gates ${number(0.5 + own)} and ${number(0.5 - own)}), ${signed(mean)} on average`
      : `${data.radix[layer] === 1 ? "gate" : `gate of split ${split}`} ${number(own)} here, ${number(mean)} on average`;
    const cellNow = `Layer ${layers[layer]}, channel ${channel}: ${what}.`;
    if (sheet === "adds") return `${cellNow} What attention adds to this layer's output is ${percent(data.rho[layer])} of its length; over the set ${percent(data.set_rho.low[layer])} to ${percent(data.set_rho.high[layer])}.`;
    if (sheet === "know") return data.eta2 ? `${cellNow} Of this gate's variance, ${data.eta2[layer][at] < 0 ? "there is none" : `${percent(data.eta2[layer][at])} lies between classes`}; in the layer ${percent(data.eta2_layers[layer])}, with shuffled labels ${percent(data.eta2_shuffled[layer])}.`
      : `${cellNow} Without labels for the set only the neighbours can be shown.`;
    const change = data.changes.find(([it]) => it === ui.choice.change), e = effect(change[0]);
    if (!e) return "Asking the kernel …";
    return `Gates of ${scope}, ${share < 1 ? `${percent(share)} of the way to ` : ""}${change[1]}: the logit of ${data.own.first} goes from ${number(data.own.logit)} to ${number(e.logit)} (${signed(e.change)}), ` +
      `${e.kept} of the top ${e.five.length} stay, likeliest is ${e.flips ? `now ${e.first}` : `still ${e.first}`}. Top ${e.five.length}: ${e.five.map(([name, v]) => `${name} ${number(v)}`).join(", ")}.`;
  }

  function draw() {
    drawStrip();
    adds.hidden = ui.choice.sheet !== "adds";
    other.hidden = ui.choice.sheet !== "other";
    know.hidden = ui.choice.sheet !== "know";
    if (!adds.hidden) shares.draw(layers.map((name, i) => ({ key: i, label: name, value: data.rho[i], title: `over the set ${percent(data.set_rho.low[i])} to ${percent(data.set_rho.high[i])}` })), rows[ui.choice.row].layer);
    if (!other.hidden) { want(ui.choice.change); drawOther(); }
    ui.say(said());
  }
  function table_() {
    if (ui.choice.sheet === "other") return { caption: `Other gates for ${ui.choice.scope}`, head: HEADS, rows: data.changes.map((change, i) => [change[1], ...cellsOf(change, i)]) };
    const { layer } = rows[ui.choice.row], sequence = order(layer);
    const mine = rows.flatMap((row, i) => (row.layer === layer ? [i] : []));
    return { caption: `${layers[layer]}: ${shown[ui.choice.show]}`, head: ["channel", ...mine.map((i) => (two(layer) ? "d" : `gate of split ${rows[i].split}`))],
      rows: sequence.map((channel, rank) => [String(channel), ...mine.map((i) => cells[i][rank])]) };
  }
  return { draw, table: table_ };
}
