"""Makes data/golden_traces.safetensors with timm's nets: python tests/make_golden_traces.py (under a minute).

Run it again when an architecture joins the zoo; what has a trace already must come out the same (test_golden says so).
"""

import datetime
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]  # to run without installing

from netwright.nets.zoo import CONFIGS, build
from netwright.probing import golden
from netwright.probing.points import Reading, module_at, observe, places, trace_points
from netwright.weights.keymaps import detect_layout, to_published
from peers import timm


def timm_net(architecture: str) -> nn.Module:
    """timm's net of this name; ResNeXt-152, which timm does not name, from its ResNet class."""
    if architecture == "resnext152_32x4d":
        resnet = timm.models.resnet
        return resnet.ResNet(resnet.Bottleneck, layers=(3, 8, 36, 3), cardinality=32, base_width=4)
    return timm.create_model(architecture)


def make_trace(architecture: str) -> dict[str, Reading]:
    """Point -> reading of timm's net in float64 with the golden weights, for every point that our net has."""
    with torch.device("meta"):
        points = trace_points(build(architecture))
        net = timm_net(architecture)
    layout = detect_layout(net.state_dict())
    net.to_empty(device="cpu").double().eval()
    net.load_state_dict(to_published(golden.golden_state(architecture), layout))

    where = {point: next(p for p in places(point, layout) if module_at(net, p)) for point in points if point != "input"}
    picture = golden.golden_input(architecture).double()
    seen = observe(net, {"input": ">", **where}, picture)
    if seen.error:
        raise seen.error
    return {point: seen.readings[point] for point in points}


def main() -> None:
    tensors, points = {}, {}
    for architecture in CONFIGS:
        trace = make_trace(architecture)
        points[architecture] = list(trace)
        readings = trace.values()
        shapes = [(*reading.shape, 0, 0)[:4] for reading in readings]
        tensors[f"{architecture}.shapes"] = np.array(shapes, dtype=np.int32)
        tensors[f"{architecture}.values"] = np.array([(r.mean, r.std, *r.samples) for r in readings])
        deviations = [reading.std for reading in readings]
        print(f"{architecture}: {len(points[architecture])} points, std {min(deviations):.3f} to {max(deviations):.1f}")
    metadata = {
        "made_by": "tests/make_golden_traces.py",
        "nets": f"timm {timm.__version__}, torch {torch.__version__}, float64 on CPU",
        "date": datetime.date.today().isoformat(),
        "weights": "netwright.probing.golden.golden_state: RandomState(crc32('architecture/name')), uniform",
        "input": "netwright.probing.golden.golden_input: golden_picture, preprocessed as for the default weights",
        "values": "mean, standard deviation, 16 samples where RandomState(crc32(point)) says; shapes end in zeros",
        "points": json.dumps(points),
    }
    path = ROOT / "data" / golden.TRACES
    save_file(tensors, path, metadata)
    print(f"{path.name}: {path.stat().st_size:,} bytes, {sum(map(len, points.values()))} points")


if __name__ == "__main__":
    main()
