"""Runs a local stack: `python -m infra.local [--port N] [--state FILE] [--aws ministack|moto|localstack]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.local.aws import KINDS
from infra.local.supervisor import Options, up


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run until stopped; returns the exit code."""
    defaults = Options()
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("--port", type=int, help="the API's port; by default a free one")
    parser.add_argument("--state", type=Path, default=defaults.state, help="where the ready line is kept")
    parser.add_argument("--aws", choices=KINDS, default=defaults.aws, help="the stand-in for AWS")
    parser.add_argument("--app", default=defaults.app, help="the Chalice app, as module:name")
    parser.add_argument("--issuer", default=defaults.issuer, help="what issues the token, as module:function")
    arguments = parser.parse_args(argv)
    return up(Options(**vars(arguments)))


if __name__ == "__main__":
    sys.exit(main())
