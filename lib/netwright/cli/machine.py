"""The verbs about this machine: doctor, lab, notebooks, bench. May import every floor below the command line."""


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
