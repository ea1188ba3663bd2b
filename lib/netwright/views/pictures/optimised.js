// A grid of made pictures, one a channel; the chosen one large, beside the real pictures that excite its channel most.
function view(ui) {
  const { data } = ui, side = data.side, BIG = 200;
  const channels = data.channels.shape[1];
  const sheets = {};
  const row = make(ui.body, "div", { class: "nw-row" });
  menu(row, "Block", data.places.map((place, i) => [i, place]), ui.choice.place ?? 0, (place) => ui.choose({ place }));
  const columns = make(ui.body, "div", { class: "nw-columns" });
  const left = make(columns, "div", { class: "nw-cell" });
  const grid = pickable(left, 4 * 112, Math.ceil(channels / 4) * 112, Math.ceil(channels / 4), 4, {
    label: "Made pictures, one for each channel", leap: 1,
    at: () => [Math.floor((ui.choice.channel ?? 0) / 4), (ui.choice.channel ?? 0) % 4],
    onPick: (y, x) => ui.choose({ channel: Math.min(4 * y + x, channels - 1) }),
  });
  make(left, "p", {}, "Click a channel, or use the arrow keys.");
  const right = make(columns, "div");
  const large = make(right, "div", { class: "nw-row" });
  const cells = [["made", BIG], ["best", BIG / 2], ["second", BIG / 2], ["third", BIG / 2]].map(([name, size]) => {
    const cell = make(large, "span", { class: "nw-cell" });
    const canvas = picture(cell, size, size, name);
    return { canvas, words: make(cell, "p") };
  });

  // The sheets are pictures that the browser has to decode first.
  for (const name of ["made", "real"]) {
    const image = new Image();
    image.onload = () => { sheets[name] = image; paint(); };
    image.src = data[name];
  }
  function copy(canvas, sheet, x, y, to = [0, 0, canvas.width, canvas.height]) {
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    if (sheet) context.drawImage(sheet, side * x, side * y, side, side, ...to);
  }
  function now() {
    const place = ui.choice.place ?? 0, at = ui.choice.channel ?? 0;
    return { place, at, channel: slice(data.channels, place)[at], excited: slice(data.excited, place)[at],
      usual: slice(data.usual, place)[at], best: data.best[place][at], values: slice(data.best_excited, place, at) };
  }
  function paint() {
    const { place, at, best } = now();
    for (let i = 0; i < channels; i++) copy(grid, sheets.made, i, place, [112 * (i % 4) + 2, 112 * Math.floor(i / 4) + 2, 108, 108]);
    outline(grid, 112 * (at % 4) + 2, 112 * Math.floor(at / 4) + 2, 108, 108, { line: 3 });
    copy(cells[0].canvas, sheets.made, at, place);
    best.forEach((index, i) => copy(cells[i + 1].canvas, sheets.real, index, 0));
  }
  function draw() {
    const { place, channel, excited, usual, values } = now();
    grid.getContext("2d").clearRect(0, 0, grid.width, grid.height);
    paint();
    const captions = [`made: ${number(excited)}`, ...[...values].map((v, i) => `${["best real", "second", "third"][i]}: ${number(v)}`)];
    cells.forEach(({ canvas, words }, i) => { words.textContent = captions[i]; canvas.setAttribute("aria-label", captions[i]); });
    const times = values[0] > 0 ? `, ${number(excited / values[0], 2)} times the best of ${data.of} real ones` : "";
    ui.say(`${data.places[place]}, channel ${channel}: the made picture excites it to ${number(excited)}${times} (${number(values[0])}); `
      + `they do to ${number(usual)} on average.`);
  }
  function table() {
    const place = ui.choice.place ?? 0;
    return {
      caption: `${data.places[place]}: mean of the channel's map for the made picture, the best real one, and the average of ${data.of}`,
      head: ["channel", "made", "best real", "average"],
      rows: [...slice(data.channels, place)].map((channel, i) =>
        [String(channel), slice(data.excited, place)[i], slice(data.best_excited, place, i)[0], slice(data.usual, place)[i]]),
    };
  }
  return { draw, table };
}
