"""The verbs that show pictures to a net: predict, features. May import every floor below the command line."""

import json
import sys
from pathlib import Path

DEFAULT_MODEL = "resnext50_32x4d"
BATCH = 16


def add(commands) -> None:
    """Add the verbs to the command line's `commands`."""
    predict = commands.add_parser("predict", help="name what is in pictures")
    _shared(predict)
    predict.add_argument("--topk", type=int, default=5, metavar="K", help="how many classes to name (default 5)")
    predict.add_argument("--json", action="store_true", help="one JSON object a picture on standard output")
    predict.set_defaults(run=_predict)

    features = commands.add_parser("features", help="save feature maps or embeddings of pictures")
    _shared(features)
    features.add_argument("--out", required=True, metavar="FILE", help="a .safetensors or .npy file")
    features.add_argument(
        "--maps",
        metavar="STRIDES",
        help="feature maps at these strides, such as 8,32 or all; without it, embeddings (pictures, channels)",
    )
    features.set_defaults(run=_features)


def _shared(parser) -> None:
    parser.add_argument("pictures", nargs="+", help="files, folders or addresses")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"any name of a net (default {DEFAULT_MODEL})")
    parser.add_argument("--weights", help="a tag, a publisher's name or a file; default: the published ones")
    parser.add_argument("--device", default="auto", help="auto (cuda, then mps, then cpu), or one of torch's names")


def _predict(options) -> int:
    import torch

    from netwright.images import find_images
    from netwright.models import top_classes

    if options.topk < 1:
        raise ValueError(f"--topk {options.topk}: at least one class has to be named.")
    pictures = find_images(options.pictures)
    net, transform, device = _net(options)
    failures = []
    for paths, batch in _batches(pictures, transform, failures):
        with torch.inference_mode():
            answers = top_classes(net, net(batch.to(device)), options.topk)
        for path, answer in zip(paths, answers, strict=True):
            if options.json:
                found = [{"label": label, "probability": round(p, 6)} for label, p in answer]
                print(json.dumps({"picture": str(path), "classes": found}, ensure_ascii=False), flush=True)
            else:
                print(path)
                for label, p in answer:
                    print(f"  {p:7.2%}  {label}", flush=True)
    return _report(failures, len(pictures))


def _features(options) -> int:
    import numpy as np
    import torch
    from safetensors.torch import save_file

    from netwright.images import find_images

    out = Path(options.out)
    if out.suffix not in (".npy", ".safetensors"):
        raise ValueError(f"--out {out}: the name has to end in .npy or .safetensors.")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: the folder {out.parent} does not exist.")
    pictures = find_images(options.pictures)
    net, transform, device = _net(options)
    strides = _strides(options.maps, net)
    if out.suffix == ".npy" and len(strides) > 1:
        raise ValueError(
            f"A .npy file holds one array, and --maps {options.maps} are {len(strides)}: use .safetensors."
        )

    failures, done, parts = [], [], {}
    for paths, batch in _batches(pictures, transform, failures):
        with torch.inference_mode():
            maps = net.forward_maps(batch.to(device))
            if strides:
                taken = {f"stride_{info['stride']}": m for info, m in zip(net.feature_info, maps, strict=True)}
                taken = {name: taken[name] for name in strides}
            else:
                taken = {"embedding": net.forward_head(maps[-1], pre_logits=True)}
        for name, tensor in taken.items():
            parts.setdefault(name, []).append(tensor.float().cpu())
        done += [str(path) for path in paths]
    if done:
        arrays = {name: torch.cat(tensors) for name, tensors in parts.items()}
        if out.suffix == ".npy":
            np.save(out, next(iter(arrays.values())).numpy())
        else:
            save_file(arrays, out, metadata={"pictures": json.dumps(done), "model": options.model})
        shapes = ", ".join(f"{name} {tuple(array.shape)}" for name, array in arrays.items())
        print(f"{out}: {shapes}; pictures in the order {', '.join(done[:3])}{' …' * (len(done) > 3)}")
    return _report(failures, len(pictures))


def _net(options):
    """The net in evaluation mode on its device, and the transform of its weights."""
    from netwright.device import chosen_device
    from netwright.models import create_model, transform_for

    device = chosen_device(options.device)
    if options.weights:
        net = create_model(options.model, weights=options.weights)
    else:
        net = create_model(options.model, pretrained=True)
    return net.eval().to(device), transform_for(net), device


def _batches(pictures, transform, failures):
    """(paths, batch of inputs), going on past pictures that cannot be opened; those are added to `failures`."""
    import torch
    from tqdm import tqdm

    from netwright.images import ImageError

    paths, inputs = [], []
    for path in tqdm(pictures, unit=" pictures", disable=len(pictures) <= BATCH or not sys.stderr.isatty()):
        try:
            inputs.append(transform(path))
            paths.append(path)
        except (ImageError, OSError) as error:
            failures.append(str(error))
        if len(paths) == BATCH:
            yield paths, torch.stack(inputs)
            paths, inputs = [], []
    if paths:
        yield paths, torch.stack(inputs)


def _strides(text: str | None, net) -> list[str]:
    known = [info["stride"] for info in net.feature_info]
    if text is None:
        return []
    wanted = known if text == "all" else [int(s) if s.isdecimal() else s for s in text.split(",")]
    for stride in wanted:
        if stride not in known:
            raise ValueError(f"--maps {text}: the net has maps at strides {', '.join(map(str, known))}, not {stride}.")
    return [f"stride_{stride}" for stride in wanted]


def _report(failures: list[str], total: int) -> int:
    for failure in failures:
        print(f"netwright: {failure}", file=sys.stderr)
    if failures:
        print(f"netwright: {len(failures)} of {total} pictures could not be used.", file=sys.stderr)
    return 0 if not failures else 2 if len(failures) == total else 1
