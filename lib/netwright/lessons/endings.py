"""How a bottleneck may end wrongly, whatever stands in its middle. Imports nothing of the project."""

from torch import nn


def wrong_endings(block: type[nn.Module]) -> dict[str, type[nn.Module]]:
    """Known mistakes of a block that returns (expand(middle(reduce(x))) + shortcut(x)).relu(), as a Check names them.

    block: a class with these four parts; each mistake is a subclass with another `forward`.
    """

    def branch(self, x):
        return self.expand(self.middle(self.reduce(x)))

    def ending(forward) -> type[nn.Module]:
        return type(f"Wrong{block.__name__}", (block,), {"forward": forward})

    return {
        "where the ReLU comes before the addition, and none after it": ending(
            lambda self, x: branch(self, x).relu() + self.shortcut(x)
        ),
        "where a ReLU comes before the addition and another after it": ending(
            lambda self, x: (branch(self, x).relu() + self.shortcut(x)).relu()
        ),
        "without a ReLU after the addition": ending(lambda self, x: branch(self, x) + self.shortcut(x)),
        "without its shortcut": ending(lambda self, x: branch(self, x).relu()),
        "that subtracts the branch from the shortcut": ending(
            lambda self, x: (self.shortcut(x) - branch(self, x)).relu()
        ),
        "that adds into its input, and so overwrites it": ending(
            lambda self, x: self.shortcut(x).add_(branch(self, x)).relu()
        ),
    }
