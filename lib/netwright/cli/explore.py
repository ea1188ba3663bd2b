"""The verb `explore`: a page in which a net's answer to a picture can be taken apart. May import every floor below."""

import os
from pathlib import Path

DEFAULT_MODEL = "resnext50_32x4d"


def add(commands) -> None:
    """Add the verb to the command line's `commands`."""
    verb = commands.add_parser(
        "explore",
        help="make a page in which a net's answer to a picture can be taken apart",
        description="Write one HTML file that shows what a net did with a picture. It can be clicked without a kernel "
        "and without a network, and each part says how exactly it is what the net computes.",
    )
    verb.add_argument("picture", help="a file or an address, or toy:NUMBER for a picture of the toy world's test split")
    verb.add_argument("--model", default=DEFAULT_MODEL, help=f"any name of a net (default {DEFAULT_MODEL})")
    verb.add_argument(
        "--weights", help="a tag, a publisher's name, a file or a run's folder; default: the published ones"
    )
    verb.add_argument("--out", metavar="FILE", help="the page (default: the picture's name and the model's)")
    verb.add_argument(
        "--target", metavar="CLASS", help="the class to explain, by name or number (default: the likeliest)"
    )
    verb.add_argument(
        "--views", metavar="NAMES", help="only these, such as class-map,ledger; --views list names them all"
    )
    verb.add_argument("--twin", action="store_true", help="the same net with random weights too, to compare with")
    verb.add_argument("--device", default="auto", help="auto (cuda, then mps, then cpu), or one of torch's names")
    verb.set_defaults(run=_explore)


def _explore(options) -> int:
    from netwright import trained
    from netwright.device import chosen_device
    from netwright.files import replace_file
    from netwright.probing.capture import probe
    from netwright.views.offers import OFFERS, offered, page

    if options.views == "list":
        print("\n".join(OFFERS))
        return 0
    # A run's folder says what its net is, whatever --model is left at.
    model = trained.about(options.weights)["model"] if _is_run(options) else options.model
    out = Path(options.out or f"{_stem(options.picture)}-{model.replace('/', '-')}.html")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: the folder {out.parent} does not exist.")
    if out.is_dir():
        raise IsADirectoryError(f"--out {out} is a folder: give the page a name in it, such as {out / 'page.html'}.")
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(f"--out {out}: the folder {out.parent} may not be written into; choose another.")
    names = [name.strip() for name in (options.views or "").split(",") if name.strip()]

    net = _net(options).eval().to(chosen_device(options.device))
    with probe(net, _picture(options.picture)) as p:
        views = offered(p, names, _target(options.target, p))
        for name, view in views.items():
            print(f"{name:16} {view.badge['text']}", flush=True)
        likeliest = [] if p.logits is None else p.top(3)
        top = ", ".join(f"{p.class_names[i]} {p.probabilities[i]:.1%}" for i in likeliest) or "a net without classes"
        replace_file(out, page(views, f"{model} looks at {_stem(options.picture)}", top, twin=options.twin))
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; {top}")
    broken = [name for name, view in views.items() if view.badge["state"] == "fails"]
    if broken:
        print(f"What {', '.join(broken)} shows is not what this net computes; its badge says by how much.")
    return 1 if broken else 0


def _net(options):
    from netwright.models import create_model, load_run

    if _is_run(options):
        return load_run(options.weights)
    if options.weights:
        return create_model(options.model, weights=options.weights)
    return create_model(options.model, pretrained=True)


def _target(given: str | None, p) -> int | str | None:
    """A class by its name, else by its number: folders of classes may be called 1, 2, 3, which are numbered from 0."""
    named = given is None or p.logits is None or given in p.class_names
    return int(given) if not named and given.isdecimal() else given


def _is_run(options) -> bool:
    return bool(options.weights) and Path(options.weights).expanduser().is_dir()


def _picture(given: str):
    if given.startswith("toy:"):
        from netwright.toys import ToyWorld

        number = given.removeprefix("toy:")
        if not number.isdecimal():
            raise ValueError(f"{given}: a picture of the toy world is toy: and a number, such as toy:3.")
        world = ToyWorld("test")
        if int(number) >= len(world):
            raise ValueError(f"{given}: the toy world's test split holds toy:0 to toy:{len(world) - 1}.")
        return world[int(number)]["image"]
    return given


def _stem(picture: str) -> str:
    return picture.replace(":", "-") if picture.startswith("toy:") else Path(picture).stem
