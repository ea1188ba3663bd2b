// What a map is worth: the picture while cells go in the map's order, and what the net says on the way.

function view(ui) {
  const { methods, controls, fill } = ui.data;
  const [height, width] = ui.data.pixels;
  const side = 288, tall = Math.round((side * height) / width);
  const first = { method: ui.data.first, order: "own", kind: "deletion", of: "probability", at: 0 };
  for (const [name, value] of Object.entries(first)) ui.choice[name] ??= value;
  if (!methods[ui.choice.method]) ui.choice.method = ui.data.first;

  const top = make(ui.body, "div", { class: "nw-row" });
  const asked = ui.live ? ui.data.more : [];
  const names = [...Object.entries(methods).map(([name, it]) => [name, it.title]), ...asked.map(([name, title]) => [name, `${title} (ask the net)`])];
  const map = menu(top, "Map", names, ui.choice.method, pickMap);
  segments(top, "What happens", [["deletion", "cells go"], ["insertion", "cells come back"]], ui.choice.kind, (kind) => ui.choose({ kind, at: 0 }));
  segments(top, "Shown", [["probability", "p"], ["logit", "logit"]], ui.choice.of, (of) => ui.choose({ of }));
  const orders = [["own", "the map's"], ["random", "a random one"], ["centre", "centre first"]];
  segments(top, "Order", orders, ui.choice.order, (order) => ui.choose({ order }));

  const columns = make(ui.body, "div", { class: "nw-columns" });
  const left = make(columns, "div", { class: "nw-cell", style: `width:${side}px` });
  const heading = make(left, "strong", {}, "The picture");
  const canvas = picture(left, side, tall, "The picture with a part of it filled");
  const slide = make(left, "div");
  make(left, "p", {}, `Filled with ${fill}.`);
  const middle = make(columns, "div", { class: "nw-cell", style: `width:${side}px` });
  const mapHeading = make(middle, "strong", {}, "The map");
  const mapCanvas = picture(middle, side, tall, "The map");
  const bar = make(middle, "div");
  const mapNote = make(middle, "p");
  const right = make(columns, "div", { class: "nw-cell", style: "width:410px" });
  make(right, "strong", {}, "What the net says");
  const plot = make(right, "div");
  const areas = make(right, "p");

  const layers = {};
  for (const name of ["picture", "filling"]) {
    const image = new Image();
    image.onload = () => {
      const small = new OffscreenCanvas(width, height), context = small.getContext("2d");
      context.drawImage(image, 0, 0);
      layers[name] = context.getImageData(0, 0, width, height);
      if (layers.picture && layers.filling) draw();
    };
    image.src = ui.data[name];
  }

  let slider_, sliderOf = null;

  /** A map that is not there yet: the kernel works on it a piece at a time. */
  async function pickMap(name) {
    for (let share = 0; !methods[name]; ) {
      ui.say(`Asking the net for ${names.find(([it]) => it === name)[1]}: ${percent(share)} done.`);
      const answer = await ui.ask({ method: name });
      if (!answer) { map.value = ui.choice.method; return; }
      share = answer.share;
      if (answer.method) {
        methods[name] = answer.method;
        controls[answer.method.size] = answer.control;
      }
      if (map.value !== name) return; // another one was chosen meanwhile
    }
    ui.choose({ method: name, at: Math.min(ui.choice.at, controls[methods[name].size].counts.length - 1) });
  }

  function now() {
    const method = methods[ui.choice.method], control = controls[method.size];
    const key = ui.choice.kind + (ui.choice.of === "logit" ? "_logit" : "");
    const at = Math.min(ui.choice.at, control.counts.length - 1);
    const points = control.counts.length;
    const lot = Array.from({ length: control.random[key].shape[0] }, (_, i) => slice(control.random[key], i));
    const mean = Array.from({ length: points }, (_, j) => lot.reduce((sum, curve) => sum + curve[j], 0) / lot.length);
    return { method, control, key, at, points, lot, mean, own: method[key], centre: control.centre[key] };
  }

  function area(fractions, values) {
    let sum = 0;
    for (let i = 1; i < fractions.length; i++) sum += ((values[i] + values[i - 1]) / 2) * (fractions[i] - fractions[i - 1]);
    return sum;
  }

  function drawPicture({ method, control, at }) {
    const order = ui.choice.order === "own" ? method.order : control[ui.choice.order].order;
    const [rows, cells] = order.shape, count = control.counts[at];
    const image = new ImageData(width, height), back = ui.choice.kind === "insertion";
    for (let y = 0; y < height; y++) {
      const row = Math.floor((y * rows) / height) * cells;
      for (let x = 0; x < width; x++) {
        const swapped = order[row + Math.floor((x * cells) / width)] < count;
        const from = (swapped !== back ? layers.filling : layers.picture).data, i = 4 * (y * width + x);
        image.data[i] = from[i];
        image.data[i + 1] = from[i + 1];
        image.data[i + 2] = from[i + 2];
        image.data[i + 3] = 255;
      }
    }
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(image, 0, 0);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, side, tall);
  }

  function drawSlider({ control, at, points }) {
    const key = `${ui.choice.kind} ${[...control.counts]}`;
    if (sliderOf !== key) { // another number of cells has other fractions
      slide.replaceChildren();
      const words = ui.choice.kind === "deletion" ? "Gone" : "Back";
      slider_ = slider(slide, words, Array.from({ length: points }, (_, i) => i), at, (it) => ui.choose({ at: it }),
        (i) => `${control.counts[i]} of ${control.counts[points - 1]} cells (${percent(control.fractions[i])})`);
      sliderOf = key;
    }
    slider_.value = at;
  }

  function draw() {
    const it = now(), { method, control, at, own, centre, lot, mean } = it;
    const isP = ui.choice.of === "probability", read = (v) => (isP ? percent(v, 1) : signed(v));
    map.value = ui.choice.method;
    if (layers.picture && layers.filling) drawPicture(it);
    drawSlider(it);
    const scale = limits(method.heat, method.signed), [rows, cells] = method.heat.shape;
    heat(mapCanvas, method.heat, rows, cells, scale);
    bar.replaceChildren();
    legend(bar, scale, method.unit);
    mapHeading.textContent = `${method.title}: ${method.size} cells`;
    const kinds = { looks: "Where a layer looked: no explanation.", given: "A map that was given." };
    mapNote.textContent = `${kinds[method.kind] ?? ""} ${method.signed ? "Signed: what speaks against the class is negative." : "No signs."}`.trim();

    const range = (f) => mean.map((_, j) => f(...lot.map((curve) => curve[j])));
    plot.replaceChildren();
    const kindWords = ui.choice.kind === "deletion" ? "gone" : "back";
    const what = isP ? `p(${ui.data.class})` : `logit of ${ui.data.class}`;
    lines(plot, [
      { name: "the map's order", x: control.fractions, y: own },
      { name: "centre first", x: control.fractions, y: centre, dash: [7, 4] },
      { name: "ten random orders: mean and range", x: control.fractions, y: mean, low: range(Math.min), high: range(Math.max), dash: [2, 3] },
    ], { width: 400, height: 250, x: `share of cells ${kindWords}`, y: what, low: isP ? 0 : null, high: isP ? 1 : null, mark: control.fractions[at],
      label: `${what} over the share of cells ${kindWords}, for the map's order, centre first and ten random orders.` });
    const drawn = ui.choice.order === "own" ? own : ui.choice.order === "centre" ? centre : lot[0];
    const [a, b, c] = [own, mean, centre].map((curve) => area(control.fractions, curve));
    const by = lot.map((curve) => area(control.fractions, curve));
    const good = ui.choice.kind === "deletion" ? a < Math.min(...by) : a > Math.max(...by);
    areas.textContent = `Area: ${number(a)}; random orders ${number(b)} (${number(Math.min(...by))} to ${number(Math.max(...by))}); centre first ${number(c)}. ` +
      (good ? "Better than all ten random orders." : "Not better than all ten random orders.");
    heading.textContent = `${percent(control.fractions[at])} ${kindWords}: ${isP ? "p" : "logit"} = ${read(drawn[at])}`;
    canvas.setAttribute("aria-label", `The picture with ${percent(control.fractions[at])} of its cells ${kindWords}, in the order: ${orders.find(([o]) => o === ui.choice.order)[1]}.`);
    mapCanvas.setAttribute("aria-label", `${method.title}, ${method.size} cells, from ${number(scale.raw[0])} to ${number(scale.raw[1])} ${method.unit}.`);
    ui.say(`${method.title}, ${control.counts[at]} of ${control.counts[it.points - 1]} cells ${kindWords}: ${what} is ${read(own[at])} in the map's order, ` +
      `${read(mean[at])} in random orders, ${read(centre[at])} from the centre.`);
  }

  function table() {
    const { method, control, own, centre, mean } = now();
    return {
      caption: `${method.title}, ${ui.choice.kind}: ${ui.choice.of} of ${ui.data.class}`,
      head: ["cells", "share", "the map's order", "random orders, mean", "centre first"],
      rows: [...control.counts].map((count, i) => [String(count), control.fractions[i], own[i], mean[i], centre[i]]),
    };
  }
  return { draw, table };
}
