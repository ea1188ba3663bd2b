"""The list of verbs, and how a failure is told: one sentence on standard error, exit status 2. Imports the verbs."""

import argparse
import sys

from netwright import __version__
from netwright.cli import evaluate, explore, finetune, lessons, look, machine, published

EXPECTED = (ValueError, KeyError, OSError, RuntimeError, NotImplementedError)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 done in part, 2 refused or failed."""
    parser = argparse.ArgumentParser(
        prog="netwright", description="ResNet, ResNeXt, ResNeSt and HaloNet with the published weights."
    )
    parser.add_argument("--version", action="version", version=f"netwright {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of a failure")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for group in (machine, published, look, explore, finetune, evaluate, lessons):
        group.add(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("netwright: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `netwright models | head`
        sys.stderr.close()
        return 0
    except EXPECTED as error:
        if options.debug:
            raise
        print(f"netwright: {error}", file=sys.stderr)
        return 2
