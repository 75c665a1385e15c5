"""The options that commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[str | None, typer.Option("--url", help="The API's address; also GRAFT_URL, or the local stack.")]
Token = Annotated[str | None, typer.Option("--token", help="A bearer token; also GRAFT_TOKEN, or the local stack's.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Go on where a list before ended.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
