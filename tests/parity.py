"""Our nets beside timm's with the same numbers. `python tests/parity.py` prints the whole table."""

import re

import torch
from torch import nn

from netwright.nets.zoo import CONFIGS, build
from netwright.weights.keymaps import to_netwright
from peers import timm


def timm_net(architecture: str, seed: int = 0, **options) -> nn.Module:
    """timm's own net with its own seeded weights, and statistics of normalisation that are not the initial ones."""
    torch.manual_seed(seed)
    if architecture == "resnext152_32x4d":  # timm has the parts but no such name
        from timm.models.resnet import Bottleneck, ResNet

        net = ResNet(Bottleneck, (3, 8, 36, 3), cardinality=32, base_width=4, **options)
    else:
        net = timm.create_model(architecture, **options)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                # The last one of a residual branch is kept small: else the sum over 90 blocks grows until float32
                # has no digits left to compare.
                scale = 0.2 if re.search(r"\.(bn3|conv3_1x1\.bn)$", name) else 1.0
                module.weight.uniform_(0.5 * scale, 1.5 * scale, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
    return net


def twins(architecture: str, dtype=torch.float64, seed: int = 0, **options):
    """(timm's net, our net) with the same numbers, both in evaluation mode."""
    theirs = timm_net(architecture, seed, **options).to(dtype).eval()
    with torch.device("meta"):
        mine = build(architecture, **options).eval()
    mine.load_state_dict(to_netwright({name: t.clone() for name, t in theirs.state_dict().items()}), assign=True)
    return theirs, mine


def picture(architecture: str, dtype=torch.float64, batch: int = 1, side: int | None = None) -> torch.Tensor:
    """A random input, small where the architecture allows it: halo attention needs maps that blocks divide."""
    config = CONFIGS[architecture]
    side = side or (config.input_size if any(b.spatial_attention for s in config.stages for b in s.blocks) else 64)
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(dtype)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, in units of the largest expected value."""
    assert found.shape == expected.shape, f"{tuple(found.shape)} is not {tuple(expected.shape)}"
    return ((found - expected).abs().max() / expected.abs().max()).item()


def block_outputs(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Output of every residual block by our name of it, "stages.1.0"; works on timm's nets too."""
    outputs, hooks = {}, []
    for name, module in net.named_modules():
        found = re.fullmatch(r"(?:layer(?P<layer>\d)|stages\.(?P<stage>\d+))\.(?P<block>\d+)", name)
        if found:
            stage = int(found["stage"] or int(found["layer"]) - 1)
            key = f"stages.{stage}.{found['block']}"
            hooks.append(module.register_forward_hook(lambda m, i, o, key=key: outputs.__setitem__(key, o.clone())))
    try:
        with torch.no_grad():
            net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def table() -> None:
    """Every architecture: parameters, and relative errors in float64 and float32, logits and the worst block."""
    print(f"{'architecture':22} {'parameters':>12}  {'float64':>8}  {'worst block':>11}  {'float32':>8}")
    for architecture in CONFIGS:
        theirs, mine = twins(architecture)
        x = picture(architecture)
        expected, found = block_outputs(theirs, x), block_outputs(mine, x)
        assert expected.keys() == found.keys()
        with torch.no_grad():
            wide = relative_error(mine(x), theirs(x))
            worst = max(relative_error(found[name], expected[name]) for name in expected)
            theirs, mine = theirs.float(), mine.float()
            narrow = relative_error(mine(x.float()), theirs(x.float()))
        count = sum(p.numel() for p in mine.parameters())
        print(f"{architecture:22} {count:12,}  {wide:8.0e}  {worst:11.0e}  {narrow:8.0e}", flush=True)


if __name__ == "__main__":
    table()
