"""Every net of the workbook by name: CONFIGS have been published by somebody, TOYS are ours.

Imports the architectures' files and the skeleton.
"""

from netwright.nets import halonet, hybrids, resnest, resnet, resnext, toy
from netwright.nets.config import NetConfig
from netwright.nets.net import ResidualNet

CONFIGS: dict[str, NetConfig] = {
    **resnet.CONFIGS,
    **resnext.CONFIGS,
    **resnest.CONFIGS,
    **halonet.CONFIGS,
    **hybrids.CONFIGS,
}
TOYS = toy.CONFIGS
ALL = {**CONFIGS, **TOYS}


def build(architecture: str, **options) -> ResidualNet:
    """The untrained net called `architecture`; `options` are those of `ResidualNet`. Raises KeyError if unknown."""
    return ResidualNet(ALL[architecture], **options)
