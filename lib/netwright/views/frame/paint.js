// Drawing on canvases: numbers to colours without smoothing, outlines, hatching. Knows nothing of views.

const MINUS = "\u2212";

/** A number as people read it: three significant digits, a real minus sign. */
function number(x, digits = 3) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  const size = Math.abs(x);
  if (size === 0) return "0";
  const text = size >= 1e5 || size < 1e-3 ? size.toExponential(digits - 1) : String(Number(size.toPrecision(digits)));
  return (x < 0 ? MINUS : "") + text.replace("e-", `e${MINUS}`).replace("e+", "e");
}

function signed(x, digits = 3) {
  return (x > 0 ? "+" : "") + number(x, digits);
}

function percent(x, digits = 0) {
  return `${(100 * x).toFixed(digits).replace("-", MINUS)} %`;
}

/** Lowest and highest of any iterable of numbers; [0, 0] of none. */
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 0];
}

/** The limits of a colour scale: zero-centred where numbers have signs, else from zero up (or from `low`). */
function limits(values, isSigned, low = 0) {
  const [least, most] = extent(values);
  if (!isSigned) return { low: Math.min(low, least), high: most, map: "sequential", raw: [least, most] };
  const reach = Math.max(Math.abs(least), Math.abs(most));
  return { low: -reach, high: reach, map: "diverging", raw: [least, most] };
}

/** Red, green and blue (0 to 255) of a value on a scale; a flat scale has one colour, its middle. */
function colour(value, scale) {
  const table = MAPS[scale.map];
  const width = scale.high - scale.low;
  const share = width > 0 ? (value - scale.low) / width : 0.5;
  const at = 3 * Math.max(0, Math.min(255, Math.round(255 * share)));
  return [table[at], table[at + 1], table[at + 2]];
}

/** Draw values (rows x columns, row by row) as squares of colour in the rectangle x, y, width, height of a canvas. */
function heat(canvas, values, rows, columns, scale, x = 0, y = 0, width = canvas.width, height = canvas.height) {
  const small = new OffscreenCanvas(columns, rows);
  const context = small.getContext("2d");
  const image = context.createImageData(columns, rows);
  const table = MAPS[scale.map], reach = scale.high - scale.low;
  for (let i = 0; i < rows * columns; i++) {
    const share = reach > 0 ? (values[i] - scale.low) / reach : 0.5; // as in `colour`, without an array a number
    const at = 3 * Math.max(0, Math.min(255, Math.round(255 * share))), to = 4 * i;
    image.data[to] = table[at];
    image.data[to + 1] = table[at + 1];
    image.data[to + 2] = table[at + 2];
    image.data[to + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  const target = canvas.getContext("2d");
  target.imageSmoothingEnabled = false; // a 7 x 7 map is 49 numbers, and is to look like it
  target.drawImage(small, x, y, width, height);
}

/** A rectangle drawn as a line with a light edge, so that it is seen on dark and on light; dash: [] or [on, off]. */
function outline(canvas, x, y, width, height, { ink = "#d55e00", dash = [], line = 2 } = {}) {
  const context = canvas.getContext("2d");
  context.save();
  for (const [style, thick] of [["#ffffff", line + 2], [ink, line]]) {
    context.strokeStyle = style;
    context.lineWidth = thick;
    context.setLineDash(dash);
    context.strokeRect(x, y, width, height);
  }
  context.restore();
}

/** Diagonal hatching: what is not part of the picture, such as padding. */
function hatch(canvas, x, y, width, height, { ink = "rgba(128,128,128,0.9)", step = 6 } = {}) {
  const context = canvas.getContext("2d");
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = ink;
  context.lineWidth = 1;
  context.beginPath();
  for (let at = -height; at < width; at += step) {
    context.moveTo(x + at, y + height);
    context.lineTo(x + at + height, y);
  }
  context.stroke();
  context.restore();
}
