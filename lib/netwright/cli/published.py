"""The verbs about what has been published: models, weights. May import every floor below the command line."""

import dataclasses
import json
import sys


def add(commands) -> None:
    """Add the verbs to the command line's `commands`."""
    models = commands.add_parser("models", help="the table of nets: parameters, GMACs, accuracy, licence")
    models.add_argument("pattern", nargs="?", default="*", help="a shell pattern, such as '*halo*'")
    models.set_defaults(run=_models)

    weights = commands.add_parser("weights", help="list, fetch, verify or find published weights")
    verbs = weights.add_subparsers(dest="verb", required=True, metavar="verb")

    listing = verbs.add_parser("list", help="what is known of each file")
    listing.add_argument("pattern", nargs="?", default="*", help="a shell pattern, such as 'resnext*'")
    listing.add_argument("--json", action="store_true", help="the whole catalogue entries")
    listing.set_defaults(run=_list)

    for verb, run, text in (
        ("fetch", _fetch, "download and verify"),
        ("verify", _verify, "hash again what lies on this machine"),
        ("where", _where, "where each file is looked for, and what is there"),
    ):
        parser = verbs.add_parser(verb, help=text)
        parser.add_argument("names", nargs="*", help="names of weights, as any publisher writes them")
        parser.add_argument("--all-of", metavar="TEXT", help="all weights whose name contains this, such as halonet")
        parser.set_defaults(run=run)


def table(rows: list[tuple], right: tuple[int, ...] = ()) -> str:
    """Rows of text in aligned columns; the columns in `right` are flushed right. The first row is the head."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        line = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        lines.append("  ".join(line).rstrip())
    return "\n".join(lines)


def _models(options) -> int:
    from netwright.models import list_models, list_weights

    rows = [("model", "weights", "params", "GMACs", "at", "top-1", "licence")]
    names = list_models(options.pattern)
    for weights in list_weights():
        if weights.architecture in names:
            rows.append(
                (
                    weights.architecture,
                    weights.tag + " *" * weights.default,
                    f"{weights.parameters / 1e6:.2f}M",
                    f"{weights.gmacs:.2f}",
                    weights.preprocessing.input_size[0],
                    f"{weights.top1:.2f}",
                    weights.licence,
                )
            )
    if len(rows) == 1:
        raise ValueError(f"No model matches {options.pattern!r}. `netwright models` lists all.")
    print(table(rows, right=(2, 3, 4, 5)))
    print(
        "\n* what the bare name means with --pretrained. Published figures; `netwright weights list --json` has sources."
    )
    return 0


def _list(options) -> int:
    from netwright.models import list_weights

    entries = list_weights(options.pattern)
    if not entries:
        raise ValueError(f"No published weights match {options.pattern!r}. `netwright weights list` lists all.")
    if options.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2))
        return 0
    rows = [("weights", "file", "size", "publisher", "licence", "top-1")]
    for entry in entries:
        file = entry.files[0]
        rows.append((entry.name, file.filename, file.size_text, entry.publisher, entry.licence, f"{entry.top1:.2f}"))
    print(table(rows, right=(5,)))
    for entry in entries:
        for defect in entry.defects:
            print(f"\n{entry.name}: {defect}")
    return 0


def _chosen(options):
    from netwright.models import list_weights
    from netwright.weights import catalogue

    if options.all_of:
        found = list_weights(f"*{options.all_of}*")
        if not found:
            raise ValueError(f"No weights have {options.all_of!r} in their name. `netwright weights list` lists all.")
        return found
    chosen = []
    for name in options.names:
        default = catalogue.default_for(name)
        chosen.append(default or catalogue.find(name))
    return chosen


def _fetch(options) -> int:
    from netwright.weights.fetch import WeightsUnavailable, fetch

    chosen = _chosen(options)
    if not chosen:
        raise ValueError("Which weights? Give names, or --all-of halonet. `netwright weights list` lists all.")
    failed = 0
    for entry in chosen:
        try:
            print(f"{entry.name}  {fetch(entry)}", flush=True)
        except WeightsUnavailable as error:
            failed += 1
            print(f"{entry.name}: {error}", file=sys.stderr)
    if failed:
        print(f"{failed} of {len(chosen)} could not be fetched.", file=sys.stderr)
    return 2 if failed == len(chosen) else min(failed, 1)


def _verify(options) -> int:
    from netwright.weights import cache
    from netwright.weights.fetch import verify, verify_all

    chosen = _chosen(options)
    places = [place for entry in chosen for place in verify(entry)] if chosen else verify_all()
    if not places:
        print("No weight files were found on this machine.")
        return 0
    print(table([(place.state, place.weights, place.path) for place in places]))
    return 2 if any(place.state == cache.WRONG for place in places) else 0


def _where(options) -> int:
    from netwright.weights.fetch import where

    chosen = _chosen(options)
    if not chosen:
        raise ValueError("Which weights? Give names, or --all-of halonet. `netwright weights list` lists all.")
    rows = [(place.weights, place.state, place.label, place.path) for entry in chosen for place in where(entry)]
    print(table(rows))
    return 0
