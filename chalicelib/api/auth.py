"""Who is asking, and may they: bearer tokens, scopes per route, and tokens bound to one run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.api.table import ANY, LINK, PUBLIC, TASK, Route
from chalicelib.domain.errors import Forbidden, Unauthorized
from chalicelib.engine import credentials
from chalicelib.engine.credentials import Claims

Json = Any
_SCHEME = "bearer"


def issue_token(
    secret: str | bytes,
    sub: str,
    tenant: str,
    scopes: Sequence[str],
    ttl_s: int,
    now_s: int | None = None,
    run_id: str | None = None,
    caps: Json = None,
) -> str:
    """A bearer token, for the command line and the local stack; from now on where no time is given."""
    key = secret.encode() if isinstance(secret, str) else secret
    now = int(time.time()) if now_s is None else now_s
    return credentials.issue_token(
        key, sub=sub, tenant=tenant, scopes=scopes, ttl_s=ttl_s, now_s=now, run_id=run_id, caps=caps
    )


def authorise(
    secret: bytes, route: Route, params: Mapping[str, str], headers: Mapping[str, str], now_ms: int
) -> Claims | None:
    """The caller's claims if they may use the route; None where the route asks for none.

    Raises Unauthorized, Forbidden.
    """
    if route.scope in (PUBLIC, TASK, LINK):
        return None
    claims = credentials.verify_token(secret, _token(headers), now_ms)
    if route.scope != ANY and not claims.allows(route.scope):
        raise Forbidden(f"This needs the scope {route.scope}; the token has {_listed(claims)}.")
    if claims.run_id is not None and not route.bound and params.get("run_id") != claims.run_id:
        raise Forbidden("The token is bound to one run and reaches only that run's routes.")
    return claims


def _token(headers: Mapping[str, str]) -> str:
    """X-Graft-Token goes first: where it is sent, Authorization holds a signature for IAM."""
    token = headers.get("x-graft-token", "").strip()
    if token:
        return token
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise Unauthorized("Send a token as `Authorization: Bearer <token>`, or in X-Graft-Token.")
    return token.strip()


def _listed(claims: Claims) -> str:
    return ", ".join(sorted(claims.scopes)) or "none"
