"""The verbs about this machine: doctor, lab, notebooks, bench. May import every floor below the command line."""


def add(commands) -> None:
    """Add the verbs to the command line's `commands`."""
    doctor = commands.add_parser("doctor", help="is this machine ready, and which tier will the notebooks run in?")
    doctor.set_defaults(run=_doctor)

    lab = commands.add_parser("lab", help="open JupyterLab on your own copies of the notebooks")
    lab.set_defaults(run=_lab)

    notebooks = commands.add_parser("notebooks", help="build the notebooks of which the source has changed")
    notebooks.add_argument("--all", action="store_true", help="build every one")
    notebooks.set_defaults(run=_notebooks)

    bench = commands.add_parser("bench", help="measure speed side by side with timm (development dependency)")
    bench.add_argument("--quick", action="store_true", help="one repetition, no compilation: does it run?")
    bench.add_argument("--json", metavar="FILE", help="write the figures there as well")
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

    return notebooks.main(["--all"] if options.all else [])


def _bench(options) -> int:
    from netwright import bench

    return bench.main(quick=options.quick, json_path=options.json)
