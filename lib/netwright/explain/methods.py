"""All attributions by name, and the controls that any of them has to beat. Imports attributions, removal and probing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from netwright.explain.attributions import (
    Target,
    class_map,
    grad_cam,
    gradient_input,
    halo_layer,
    halo_look,
    hires_cam,
    integrated_gradients,
    occlusion,
    saliency,
    smooth_grad,
    to_array,
)
from netwright.explain.removal import nearness
from netwright.probing.capture import Probe


def centre(probe: Probe, target: Target = None) -> np.ndarray:
    """Nearness to the middle of the picture, (height, width), 1 to 0: knows neither net nor picture."""
    return nearness(tuple(probe.input.shape[2:]))


def edges(probe: Probe, target: Target = None) -> np.ndarray:
    """The Sobel gradient's size of the picture's mean channel, (height, width): knows the picture and no net.

    What looks like this explains the picture and not the net (Adebayo et al. 2018, section 5).
    """
    grey = F.pad(probe.input.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).to(grey).view(1, 1, 3, 3) / 8
    return to_array(torch.hypot(F.conv2d(grey, across), F.conv2d(grey, across.transpose(2, 3)))[0, 0])


def random_map(probe: Probe, target: Target = None, *, seed: int | tuple[int, ...] = 0) -> np.ndarray:
    """Random numbers from 0 to 1, (height, width): what no knowledge scores."""
    return np.random.default_rng(seed).random(tuple(probe.input.shape[2:]))


# All of them -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """An attribution as it is listed: `run(probe, target)`.

    kind: "explains"; "looks", for attention that is no explanation; "control", for what does not know the net.
    """

    name: str
    title: str
    run: Callable[[Probe, Target], np.ndarray]
    signed: bool
    unit: str
    kind: str = "explains"


METHODS = {
    it.name: it
    for it in (
        Method("class_map", "Class map (last map, exact)", class_map, True, "logits"),
        Method("grad_cam", "Grad-CAM (stage before the last)", grad_cam, False, "Grad-CAM"),
        Method(
            "grad_cam_signed", "Grad-CAM without ReLU",
            lambda probe, target: grad_cam(probe, target, relu=False), True, "Grad-CAM",
        ),
        Method("hires_cam", "HiResCAM (stage before the last)", hires_cam, True, "logits, first-order"),
        Method("gradient_input", "Gradient × input", gradient_input, True, "logits, first-order"),
        Method("saliency", "Gradient magnitude", saliency, False, "logits a unit of input"),
        Method("smooth_grad", "SmoothGrad", smooth_grad, False, "logits a unit of input"),
        Method("integrated", "Integrated gradients", integrated_gradients, True, "logits"),
        Method("occlusion", "Occlusion", occlusion, True, "logits"),
        Method("halo_look", "Where the last halo layer looked", halo_look, False, "share of attention", "looks"),
        Method("centre", "Centre first", centre, False, "nearness", "control"),
        Method("edges", "Edges of the picture", edges, False, "Sobel", "control"),
        Method("random", "Random map", random_map, False, "random", "control"),
    )
}  # fmt: skip


def methods_for(probe: Probe) -> list[str]:
    """The names of the METHODS that this net allows."""
    missing = set()
    if not probe.steps:
        missing |= {"class_map", "grad_cam", "grad_cam_signed", "hires_cam"}
    elif not isinstance(probe.net.classifier, nn.Linear):
        missing |= {"class_map"}
    if halo_layer(probe.net) is None:
        missing |= {"halo_look"}
    return [name for name in METHODS if name not in missing]
