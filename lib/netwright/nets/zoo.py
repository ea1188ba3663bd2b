"""Every net of the workbook by name. Imports the architectures' files and the skeleton."""

from netwright.nets import halonet, hybrids, resnest, resnet, resnext
from netwright.nets.config import NetConfig
from netwright.nets.net import ResidualNet

CONFIGS: dict[str, NetConfig] = {
    **resnet.CONFIGS,
    **resnext.CONFIGS,
    **resnest.CONFIGS,
    **halonet.CONFIGS,
    **hybrids.CONFIGS,
}


def build(architecture: str, **options) -> ResidualNet:
    """The untrained net called `architecture`; `options` are those of `ResidualNet`. Raises KeyError if unknown."""
    return ResidualNet(CONFIGS[architecture], **options)
