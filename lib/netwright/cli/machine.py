"""The verbs doctor, lab, notebooks, editions and bench. May import every floor below the command line."""


def add(commands) -> None:
    """Add the verbs to the command line's `commands`."""
    doctor = commands.add_parser("doctor", help="is this machine ready, and which tier will the notebooks run in?")
    doctor.set_defaults(run=_doctor)

    lab = commands.add_parser("lab", help="open JupyterLab on your own copies of the notebooks")
    lab.set_defaults(run=_lab)

    notebooks = commands.add_parser("notebooks", help="build the notebooks of which the source has changed")
    notebooks.add_argument("names", nargs="*", help="02 or 02_weights_proven; default: every notebook")
    notebooks.add_argument("--all", action="store_true", help="build every one")
    notebooks.set_defaults(run=_notebooks)

    editions = commands.add_parser("editions", help="what a course hands out, made of the executed notebooks")
    editions.add_argument("names", nargs="*", help="02 or 02_weights_proven; default: every notebook")
    editions.add_argument(
        "--only", nargs="+", metavar="EDITION", help="of student, solution, instructor, slides, nbgrader"
    )
    editions.add_argument("--out", metavar="FOLDER", help="default: build/editions")
    editions.add_argument("--zip", action="store_true", help="a zip file of each as well, to hand out")
    editions.set_defaults(run=_editions)

    bench = commands.add_parser("bench", help="measure the nets on this machine: eager, optimised, compiled")
    bench.add_argument("models", nargs="*", default=["resnext50_32x4d", "resnest50d", "halonet50ts"])
    bench.add_argument("--batch", type=int, nargs="+", default=[1, 8], metavar="N", help="pictures at once")
    bench.add_argument("--runs", type=int, default=7, help="repetitions; the median is told")
    bench.add_argument("--compile", action="store_true", help="torch.compile too: up to two minutes a net and batch")
    bench.set_defaults(run=_bench)


def _doctor(options) -> int:
    from netwright.doctor import report

    result = report()
    print(result)
    return 0 if result.healthy else 2


def _lab(options) -> int:
    from netwright import workbook

    return workbook.main()


def _notebooks(options) -> int:
    from netwright import notebooks

    return notebooks.main([*options.names, *["--all"] * options.all])


def _editions(options) -> int:
    import sys
    from pathlib import Path

    from netwright import editions
    from netwright.notebooks import ROOT, NotebookError

    out = Path(options.out) if options.out else ROOT / "build" / "editions"
    only = tuple(options.only or editions.EDITIONS)
    try:
        written = editions.build(options.names, only=only, out=out)
    except NotebookError as error:
        print(f"netwright: {error}", file=sys.stderr)
        return 2
    if options.zip:
        written += editions.zipped(out, only)
    for path in dict.fromkeys(written):
        print(f"made  {path}  ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def _bench(options) -> int:
    from netwright.bench import hardware, own_speed
    from netwright.cli.published import table

    print(", ".join(f"{key} {value}" for key, value in hardware().items()))
    head = ("model", "side", "batch", "eager ms", "optimised ms", *["compiled ms"] * options.compile)
    rows = []
    for name in options.models:
        rows += own_speed(name, tuple(options.batch), compile=options.compile, runs=options.runs)
    print(table([head, *rows], right=tuple(range(1, len(head)))))
    return 0
