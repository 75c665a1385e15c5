"""Signed tokens: bearer tokens of people and programs, callback tokens of one attempt, one person's decision links."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import InvalidInput, Problem, Unauthorized
from chalicelib.domain.names import NAME_PATTERN

Json = Any
#: What a token may be allowed; `admin` implies all the others (SPEC 13).
SCOPES: Final = (
    "workflows:write",
    "runs:start",
    "runs:read",
    "runs:patch",
    "runs:control",
    "approvals",
    "admin",
)
API_AUDIENCE: Final = "graft-api"
TASK_AUDIENCE: Final = "graft-task"
LINK_AUDIENCE: Final = "graft-decision"
_ALGORITHM: Final = "HS256"
#: Characters of a token; what Graft signs is far shorter.
_MAX_TOKEN: Final = 8192
_MAX_SUBJECT: Final = 256
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified bearer token says. `run_id` binds it to that run's routes; `caps` are an agent's capabilities.

    `attempt` is the token of the one attempt that the credential was made for: it patches while that is outstanding.
    """

    sub: str
    tenant: str
    scopes: frozenset[str]
    run_id: str | None = None
    caps: Json = None
    attempt: str | None = None

    def allows(self, scope: str) -> bool:
        """Whether the token has this scope."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class TaskClaims:
    """What a verified callback token says: the one attempt that it may settle."""

    job_id: str
    run_id: str
    node_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class LinkClaims:
    """What a verified decision link says: whose decision on which execution it is, and which."""

    tenant: str
    run_id: str
    node_id: str
    job_id: str
    #: The person whose decision it is.
    sub: str
    approved: bool
    exp_ms: int


def issue_token(
    secret: bytes,
    *,
    sub: str,
    tenant: str,
    scopes: Sequence[str],
    ttl_s: int,
    now_s: int,
    run_id: str | None = None,
    caps: Json = None,
    attempt: str | None = None,
) -> str:
    """A bearer token valid for `ttl_s` seconds from `now_s` (since the epoch). Raises InvalidInput."""
    problems = []
    if not sub or len(sub) > _MAX_SUBJECT or not _is_text(sub):
        problems.append(Problem("bad_sub", "/sub", f"sub has 1 to {_MAX_SUBJECT} characters."))
    if not _NAME.fullmatch(tenant):
        problems.append(Problem("bad_tenant", "/tenant", f"tenant matches {NAME_PATTERN}."))
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        problems.append(Problem("bad_scopes", "/scopes", f"{', '.join(unknown)}: choose among {', '.join(SCOPES)}."))
    if problems:
        raise InvalidInput("No token can be made of this.", tuple(problems))
    claims: dict[str, Json] = {"aud": API_AUDIENCE, "sub": sub, "tenant": tenant, "scopes": list(scopes)}
    claims |= {"iat": now_s, "exp": now_s + ttl_s}
    if run_id is not None:
        claims["run_id"] = run_id
    if caps is not None:
        claims["caps"] = caps
    if attempt is not None:
        claims["attempt"] = attempt
    return _signed(claims, secret)


def _is_text(value: str) -> bool:
    """False with half a surrogate pair in it, which no store takes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def verify_token(secret: bytes, token: str, now_ms: int) -> Claims:
    """The claims of a bearer token. Raises Unauthorized saying what is wrong with it."""
    claims = _verify(secret, token, API_AUDIENCE, now_ms)
    names = ("sub", "tenant", "scopes", "run_id", "attempt")
    sub, tenant, scopes, run_id, attempt = (claims.get(name) for name in names)
    if not isinstance(sub, str) or not 0 < len(sub) <= _MAX_SUBJECT or not _is_text(sub):
        raise Unauthorized("The token has no sub; it names the person or program that holds it.")
    if not isinstance(tenant, str) or not _NAME.fullmatch(tenant):
        raise Unauthorized("The token names no tenant.")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise Unauthorized("The token's scopes are not a list of texts.")
    if not all(value is None or isinstance(value, str) for value in (run_id, attempt)):
        raise Unauthorized("The token's run_id and attempt are not texts.")
    return Claims(sub, tenant, frozenset(scopes), run_id, claims.get("caps"), attempt)


def issue_callback_token(secret: bytes, job_id: str, run_id: str, node_id: str, attempt: int, exp_ms: int) -> str:
    """The token of SPEC 7's callback, the same for the same arguments; valid until `exp_ms`, rounded up to a second."""
    claims = {"aud": TASK_AUDIENCE, "job": job_id, "run": run_id, "node": node_id, "attempt": attempt}
    return _signed({**claims, "exp": -(-exp_ms // 1000)}, secret)


def verify_callback_token(secret: bytes, token: str, now_ms: int) -> TaskClaims:
    """The claims of a callback token. Raises Unauthorized."""
    claims = _verify(secret, token, TASK_AUDIENCE, now_ms)
    return TaskClaims(claims["job"], claims["run"], claims["node"], claims["attempt"])


def issue_link_token(secret: bytes, link: LinkClaims) -> str:
    """The token of a decision link, the same for the same claims; valid until its `exp_ms`, in whole seconds."""
    claims = {"aud": LINK_AUDIENCE, "tenant": link.tenant, "run": link.run_id, "node": link.node_id}
    more = {"job": link.job_id, "sub": link.sub, "yes": link.approved, "exp": link.exp_ms // 1000}
    return _signed({**claims, **more}, secret)


def verify_link_token(secret: bytes, token: str, now_ms: int) -> LinkClaims:
    """The claims of a decision link's token. Raises Unauthorized."""
    claims = _verify(secret, token, LINK_AUDIENCE, now_ms)
    tenant, run_id, node_id, job, sub, yes = (claims[name] for name in ("tenant", "run", "node", "job", "sub", "yes"))
    return LinkClaims(tenant, run_id, node_id, job, sub, yes, int(claims["exp"]) * 1000)


def check_subject(sub: Json, path: str) -> str:
    """The name of a person or program. Raises InvalidInput."""
    if not isinstance(sub, str) or not 0 < len(sub) <= _MAX_SUBJECT or not _is_text(sub):
        text = f"A person's name has 1 to {_MAX_SUBJECT} characters."
        raise InvalidInput(f"{path} is no name of a person.", (Problem("bad_sub", path, text),))
    return sub


def _signed(claims: Mapping[str, Json], secret: bytes) -> str:
    """A JSON Web Token under HS256. Every task carries one, and PyJWT examines the key anew for each."""
    text = f"{_HEADER}.{_base64(compact(claims).encode())}"
    return f"{text}.{_base64(hmac.digest(secret, text.encode(), 'sha256'))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


#: What the tokens' first part says: algorithm and type.
_HEADER: Final = _base64(compact({"alg": _ALGORITHM, "typ": "JWT"}).encode())


def _verify(secret: bytes, token: str, audience: str, now_ms: int) -> Mapping[str, Json]:
    """Signature, audience and time. The time is judged here, by the clock that was passed in."""
    # The coordinator signs and never verifies: it starts without this library.
    import jwt  # noqa: PLC0415

    if len(token) > _MAX_TOKEN:
        raise Unauthorized("The token is too long to be one that this deployment signed.")
    options: Any = {"require": ["exp", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    try:
        claims = jwt.decode(token, secret, algorithms=[_ALGORITHM], audience=audience, options=options)
    except (jwt.PyJWTError, RecursionError, ValueError):
        raise Unauthorized("The token does not verify: it was not signed for this use by this deployment.") from None
    if not _is_time(claims["exp"]) or now_ms >= claims["exp"] * 1000:
        raise Unauthorized("The token has expired; get a new one.")
    if "nbf" in claims and (not _is_time(claims["nbf"]) or now_ms < claims["nbf"] * 1000):
        raise Unauthorized("The token is not valid yet.")
    return claims


def _is_time(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
