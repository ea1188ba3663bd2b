"""A small view with a script of its own, for the tests of the frame that all views stand in."""

import numpy as np

from netwright import figures
from netwright.views.frame import assembling
from netwright.views.view import Identity, View

SCRIPT = """
function view(ui) {
  const pick = pickable(ui.body, 80, 40, 2, 4, { label: "Cells", leap: 2,
    at: () => [ui.choice.row ?? 0, ui.choice.column ?? 0], onPick: (row, column) => ui.choose({ row, column }) });
  const strip = bars(ui.body, { label: "Bars", onPick: (key) => ui.choose({ key }) });
  strip.draw([...ui.data.half].map((value, i) => ({ key: String(i), label: `bar ${i}`, value })), "0");
  slider(ui.body, "Step", [0, 1, 2], 0, (step) => ui.choose({ step }));
  const asked = button(ui.body, "Ask", async () => {
    for (const x of [1, 2, 3]) {  // only the first and the last are answered
      const waiting = ui.ask({ x });
      if (waiting === null) ui.say("no kernel");
      else waiting.then((answer) => { if (answer) ui.say(`twice ${x} is ${answer.twice}`); });
    }
  });
  return {
    draw() {
      const row = ui.choice.row ?? 0, column = ui.choice.column ?? 0, { numbers } = ui.data;
      heat(pick, numbers, 2, 4, limits(numbers, true));
      ui.say(`Row ${row}, column ${column}: ${signed(numbers[4 * row + column])}. ${ui.data.words}`);
    },
    table: () => ({ caption: "All", head: ["row", "first", "second"], rows: [0, 1].map((row) => [String(row), ...slice(ui.data.numbers, row).subarray(0, 2)]) }),
  };
}
"""


class Demo(View):
    """numbers (2, 4) from a seed, the same in other types, and words."""

    script = "demo"
    asks = True
    title = "A demo"
    alt = "Two rows of four numbers."

    def __init__(self, seed: int = 0, words: str = "That is all.", error: float | None = 1e-7):
        self.numbers = np.random.default_rng(seed).normal(size=(2, 4)).astype(np.float32)
        self.seed, self.words, self.error = seed, words, error

    @property
    def data(self):
        return {"numbers": self.numbers, "half": assembling.Half(self.numbers.flatten()), "words": self.words}

    def identities(self):
        return [Identity("the numbers are numbers", self.error)]

    def figure(self):
        figure, axis = figures.subplots(figsize=figures.HALF)
        axis.imshow(self.numbers)
        return figures.show(figure, self.alt)

    def random_twin(self):
        return Demo(self.seed + 1)

    def answer(self, question):
        if question["x"] > 9:
            raise ValueError(f"x={question['x']} is too much: choose 9 or less.")
        return {"twice": 2 * question["x"]}


def with_demo(monkeypatch) -> None:
    """Let the frame find the demo's script."""
    real = assembling._script
    monkeypatch.setattr(assembling, "_script", lambda name: SCRIPT if name == "demo" else real(name))
