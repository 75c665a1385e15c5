"""`graft token`: makes bearer tokens."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from infra.cli import show
from infra.cli.connect import find_state
from infra.cli.errors import CliError
from infra.cli.options import AsJson

app = typer.Typer(no_args_is_help=True, help="Bearer tokens.")

SCOPES = ("workflows:write", "runs:start", "runs:read", "runs:patch", "runs:control", "approvals", "admin")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: Seconds: a year.
MAX_TTL_S = 366 * 86400


@app.callback()
def tokens() -> None:
    """Bearer tokens."""


@app.command("create")
def create(
    sub: Annotated[str | None, typer.Option(help="The person or program it stands for.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose workflows and runs it sees.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="What it allows; repeat it. By default runs:read.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it holds, such as 3600, 30m, 12h or 7d.")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Sign a token with GRAFT_SIGNING_SECRET; without it and any option, print the running local stack's token."""
    secret = os.environ.get("GRAFT_SIGNING_SECRET")
    if secret:
        token = _sign(secret, sub, tenant, scope or ["runs:read"], ttl)
    elif sub or tenant or scope:
        raise CliError("Set GRAFT_SIGNING_SECRET to the deployment's secret: without it no token can be signed.")
    else:
        token = find_state()[1].get("token", "")
        if not token:
            raise CliError("Set GRAFT_SIGNING_SECRET to the deployment's secret, or start `graft local up`.")
    if as_json:
        show.print_json({"token": token})
    else:
        print(token)


def _sign(secret: str, sub: str | None, tenant: str | None, scopes: list[str], ttl: str) -> str:
    # Imported late: only this command signs.
    from chalicelib.api.auth import issue_token  # noqa: PLC0415

    if not sub or not tenant:
        raise CliError("Pass --sub and --tenant: whom the token stands for, and whose data it sees.")
    wrong = sorted(set(scopes) - set(SCOPES))
    if wrong:
        raise CliError(f"There is no scope {', '.join(wrong)}; the scopes are {', '.join(SCOPES)}.")
    return issue_token(secret, sub=sub, tenant=tenant, scopes=scopes, ttl_s=seconds(ttl))


def seconds(text: str) -> int:
    """Seconds in a span such as 90, 30m, 12h or 7d. Raises CliError."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    span = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= span <= MAX_TTL_S:
        raise CliError(f"--ttl is a span from 1 second to 366 days, such as 3600, 30m, 12h or 7d, not {text!r}.")
    return span
