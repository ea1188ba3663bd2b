"""BatchNorm over the pictures of all devices, so that several train like one with the whole batch. Imports ranks."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from netwright.ranks import ranks


def synchronise(net: nn.Module) -> nn.Module:
    """`net`, in which every BatchNorm takes its statistics over the whole batch, not over its own device's share.

    Without this, eight devices with 16 pictures each normalise by 16 pictures where one device would by 128, and
    each keeps running statistics of its own. Names and numbers in the state dict stay. Call it before anything holds
    on to a module (hooks, `freeze`). On GPUs torch's own SyncBatchNorm does it; that one knows no CPU.
    """
    if next(net.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm
    return net


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` of which, in training, mean and variance are those of all ranks' pictures together."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or ranks().world == 1:
            return super().forward(x)
        count = torch.tensor([x.numel() / x.shape[1]], dtype=x.dtype, device=x.device)
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        counts, means, variances = (FromAllRanks.apply(part) for part in (count, mean, var))  # (world, channels or 1)
        # The variance of a whole from those of its parts (Chan et al. 1983).
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        var = (counts * (variances + (means - mean) ** 2)).sum(0) / total
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * total / (total - 1), self.momentum)  # unbiased, as torch keeps it
        scale = self.weight * (var + self.eps).rsqrt()
        return x * scale.view(-1, 1, 1) + (self.bias - mean * scale).view(-1, 1, 1)


class FromAllRanks(torch.autograd.Function):
    """The same tensor of every rank, stacked; going backward, what each rank wants of mine is added up."""

    @staticmethod
    def forward(ctx, mine: Tensor) -> Tensor:
        parts = [torch.empty_like(mine) for _ in range(ranks().world)]
        dist.all_gather(parts, mine.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[ranks().rank]
