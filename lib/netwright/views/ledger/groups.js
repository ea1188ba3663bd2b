// The groups of a block: how alike they are, whether a random cut would do as well, and what is wired to what.

function view(ui) {
  const { data, choice } = ui;
  const count = data.labels.length, wires = data.wires;
  for (const [name, value] of Object.entries({ group: 0, other: Math.min(1, count - 1), order: "alike", output: 0 })) choice[name] ??= value;
  const order = () => (choice.order === "alike" ? [...data.order] : data.labels.map((_, i) => i));
  const groupOf = (output) => Math.floor(output / (wires.outputs / wires.groups));
  const firstOf = (group) => Math.floor((group * wires.outputs) / count); // output channel of a group
  const ofOutput = (output) => Math.min(count - 1, Math.floor((output * count) / wires.outputs));
  const pathColumn = () => Math.min(data.between.shape[1] - 1, Math.floor((choice.group * data.between.shape[1]) / count));
  const cka = (a, b) => data.cka[a * count + b];
  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const block = (parent, title, size = 300) => {
    const box = make(parent, "div", { style: `flex: 1 1 ${size}px; min-width: ${Math.min(size, 260)}px; max-width: ${Math.max(size, 520)}px` });
    make(box, "strong", { style: "display:block; margin-bottom:4px" }, title);
    return box;
  };

  const key = (parent, scale, unit) => {
    legend(parent, scale, unit);
    parent.querySelector(".nw-legend").style.flexWrap = "wrap"; // the narrow columns have no room for one line
  };

  // Likeness and the control ----------------------------------------------------------------------------------------
  const above = make(ui.body, "div", { class: "nw-columns" });
  const alike = block(above, `How alike the ${data.kind} are (linear CKA, ${data.samples} positions)`);
  const row = make(alike, "div", { class: "nw-row" });
  segments(row, "Order", [["alike", "like beside like"], ["number", "by number"]], choice.order, (it) => ui.choose({ order: it }));
  const side = 288, scale = { low: 0, high: 1, map: "sequential", raw: extent(data.cka) };
  const likeness = pickable(alike, side, side, count, count, {
    label: "", leap: 4, at: () => [order().indexOf(choice.group), order().indexOf(choice.other)],
    onPick: (a, b) => ui.choose({ group: order()[a], other: order()[b], ...(wires ? { output: firstOf(order()[a]) } : {}) }),
  });
  key(alike, scale, "CKA");

  const control = block(above, "Would a random cut do as well?");
  histogram(control);
  make(control, "p", { class: "nw-note" }, `Mean |correlation| of channels within a group minus between groups: ${signed(data.score)}, at percentile ${number(data.percentile)} of ${data.random.length} random cuts into groups of the same size.`
    + (wires && wires.groups > 1 ? " Channels of one group read the same inputs, so random weights can pass too: look at the random twin." : ""));

  const used = block(above, `Directions that a group uses, of ${data.channels}`);
  const usedBars = bars(used, { label: "Directions used by each group", unit: "", onPick: (key) => ui.choose({ group: Number(key), ...(wires ? { output: firstOf(Number(key)) } : {}) }) });

  // Wiring ----------------------------------------------------------------------------------------------------------
  let mask, dense, kernel, kernelTitle, paths, pathScale, outputSlider;
  let hovered = null; // the output channel under the mouse, until it leaves
  if (wires) {
    const below = make(ui.body, "div", { class: "nw-columns", style: "margin-top:16px" });
    const wired = block(below, "Which inputs an output channel reads", 550);
    const pair = make(wired, "div", { class: "nw-columns", style: "gap:12px" });
    const dim = 264;
    const grouped = make(pair, "div", { class: "nw-cell" });
    make(grouped, "span", {}, `${wires.groups > 1 ? `in ${wires.groups} groups` : "as it is, in one group"}: ${wires.grouped.toLocaleString("en")} weights`);
    mask = pickable(grouped, dim, dim, wires.outputs, wires.inputs, {
      label: "", leap: Math.max(1, wires.outputs / wires.groups), at: () => [choice.output, 0],
      onPick: (output) => ui.choose({ output, group: ofOutput(output) }),
    });
    mask.addEventListener("mousemove", (event) => {
      const box = mask.getBoundingClientRect();
      hovered = Math.max(0, Math.min(wires.outputs - 1, Math.floor(((event.clientY - box.top) / box.height) * wires.outputs)));
      draw();
    });
    mask.addEventListener("mouseleave", () => { hovered = null; draw(); });
    const whole = make(pair, "div", { class: "nw-cell" });
    make(whole, "span", {}, `dense: ${wires.dense.toLocaleString("en")} weights`);
    dense = picture(whole, dim, dim, `A dense convolution: every output reads all ${wires.inputs} inputs.`);
    legend(wired, limits(data.cells, false), "squared weights, summed over the kernel");
    const outputs = Array.from({ length: wires.outputs }, (_, i) => i);
    outputSlider = slider(wired, "Output channel", outputs, choice.output, (output) => ui.choose({ output, group: ofOutput(output) }));

    const more = block(below, "", 220);
    kernelTitle = more.querySelector("strong");
    kernel = picture(more, 150, 150, "");
    key(more, limits(data.profile, false), "share of squared weights");
    make(more, "p", { class: "nw-note" }, "Groups read different inputs, so their filters cannot be compared one by one; where in the kernel they look can.");
    if (data.between) {
      const onward = block(below, `Paths to the groups of ${data.next}`, 220);
      const [there, here] = data.between.shape;
      paths = pickable(onward, 200, 200, there, here, { label: "", leap: 4, at: () => [Math.min(choice.there ?? 0, there - 1), pathColumn()],
        onPick: (a, b) => ui.choose({ there: a, group: Math.min(count - 1, Math.floor((b * count) / here)) }) });
      pathScale = limits(data.between, false);
      key(onward, pathScale, "‖W₁ diag(s) W₃‖");
      make(onward, "p", { class: "nw-note" }, "Weights multiplied out: this ignores the activation in between and the shortcut.");
    }
  }
  function histogram(parent) {
    const NS = "http://www.w3.org/2000/svg", width = 320, height = 210, [l, b, t, r] = [38, 38, 12, 14], bins = 20;
    const svg = document.createElementNS(NS, "svg");
    for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, role: "img", class: "nw-lines",
      "aria-label": `Histogram of ${data.random.length} random cuts; the groups are at ${signed(data.score)}.` })) svg.setAttribute(name, value);
    const add = (tag, attributes, text) => {
      const element = document.createElementNS(NS, tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (text) element.textContent = text;
      svg.append(element);
    };
    const [least, most] = extent(data.random), [low, high] = extent([...data.random, data.score]);
    const pad = (high - low || 1) * 0.04, px = (v) => l + ((v - low + pad) / (high - low + 2 * pad)) * (width - l - r);
    const heights = new Array(bins).fill(0), step = (most - least) / bins || 1;
    for (const v of data.random) heights[Math.min(bins - 1, Math.floor((v - least) / step))]++;
    const top = Math.max(...heights), py = (n) => height - b - (n / top) * (height - b - t);
    heights.forEach((n, i) => add("rect", { x: px(least + i * step), y: py(n), width: Math.max(1, px(least + step) - px(least) - 0.5), height: height - b - py(n), fill: "#8b919b" }));
    add("line", { x1: px(data.score), x2: px(data.score), y1: t, y2: height - b, class: "nw-mark" });
    const right = px(data.score) > width / 2;
    add("text", { x: px(data.score) + (right ? -6 : 6), y: t + 10, "text-anchor": right ? "end" : "start" }, `the ${data.kind}`);
    for (const v of [low, high]) add("text", { x: px(v), y: height - b + 16, "text-anchor": v === low ? "start" : "end" }, signed(v, 2));
    add("text", { x: (l + width) / 2, y: height - 4, "text-anchor": "middle" }, "correlation within minus between");
    add("text", { x: 12, y: height / 2, transform: `rotate(-90 12 ${height / 2})`, "text-anchor": "middle" }, "random cuts");
    parent.append(svg);
  }

  // Drawing ---------------------------------------------------------------------------------------------------------
  function draw() {
    const now = order(), cell = side / count;
    heat(likeness, Float32Array.from({ length: count * count }, (_, i) => cka(now[Math.floor(i / count)], now[i % count])), count, count, scale);
    outline(likeness, now.indexOf(choice.other) * cell + 1, now.indexOf(choice.group) * cell + 1, cell - 2, cell - 2);
    likeness.setAttribute("aria-label", `Likeness of ${count} ${data.kind}; arrow keys move, now ${data.labels[choice.group]} and ${data.labels[choice.other]}: ${number(cka(choice.group, choice.other))}.`);
    usedBars.draw([...data.participation].map((value, g) => ({ key: String(g), label: data.labels[g], value })), String(choice.group));
    let text = `${capital(data.labels[choice.group])} and ${data.labels[choice.other]}: likeness ${number(cka(choice.group, choice.other))}. ${capital(data.labels[choice.group])} uses ${number(data.participation[choice.group])} of ${data.channels} directions.`;
    if (wires) text += drawWires();
    ui.say(text);
  }

  function drawWires() {
    const output = hovered ?? choice.output;
    const [high, wide] = data.cells.shape, g = groupOf(output), reads = wires.inputs / wires.groups;
    heat(mask, data.cells, high, wide, limits(data.cells, false));
    const y = (output / wires.outputs) * mask.height, x = ((g * reads) / wires.inputs) * mask.width, w = (reads / wires.inputs) * mask.width;
    outline(mask, 0, y, mask.width, Math.max(1, mask.height / wires.outputs), { ink: "#595959", dash: [2, 3], line: 1 });
    outline(mask, x, (g / wires.groups) * mask.height, w, mask.height / wires.groups);
    mask.setAttribute("aria-label", `Weights of ${wires.outputs} outputs by ${wires.inputs} inputs; arrow keys move, now output ${output}, which reads inputs ${g * reads} to ${(g + 1) * reads - 1}.`);
    outputSlider.value = output;
    const full = { low: 0, high: 1, map: "sequential", raw: [0, 1] };
    heat(dense, Float32Array.of(0.55), 1, 1, full);
    outline(dense, 0, y, dense.width, Math.max(2, dense.height / wires.outputs));
    const profile = slice(data.profile, choice.group), [rows, columns] = profile.shape;
    kernelTitle.textContent = `Where in the kernel ${data.labels[choice.group]} looks`;
    heat(kernel, profile, rows, columns, limits(data.profile, false));
    kernel.setAttribute("aria-label", `Shares of the ${rows}x${columns} kernel, row by row: ${[...profile].map((v) => percent(v)).join(", ")}.`);
    let text = ` Output ${output} reads inputs ${g * reads} to ${(g + 1) * reads - 1}: ${reads} of ${wires.inputs}.`;
    if (paths) {
      const [there, here] = data.between.shape, a = Math.min(choice.there ?? 0, there - 1), c = pathColumn();
      heat(paths, data.between, there, here, pathScale);
      outline(paths, (c / here) * paths.width, (a / there) * paths.height, paths.width / here, paths.height / there);
      const value = data.between[a * here + c];
      paths.setAttribute("aria-label", `Paths from ${here} groups here to ${there} of ${data.next}; arrow keys move, now from ${c} to ${a}: ${number(value)}.`);
      text += ` Its path to group ${a} of ${data.next}: ${number(value)}.`;
    }
    return text;
  }

  function table() {
    return {
      caption: `${data.kind} of ${data.block}`,
      head: ["group", `directions of ${data.channels}`, `likeness to ${data.labels[choice.group]}`, ...(data.profile ? ["share of the kernel's middle"] : [])],
      rows: data.labels.map((label, g) => [label, data.participation[g], cka(choice.group, g), ...(data.profile ? [percent(middleOf(g), 1)] : [])]),
    };
  }
  function middleOf(g) {
    const profile = slice(data.profile, g);
    return profile[Math.floor(profile.length / 2)];
  }
  return { draw, table };
}
