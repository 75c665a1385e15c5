"""Routes of artifacts: a URL to upload to, a URL to download from."""

from __future__ import annotations

import re
from typing import Final

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_count
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.api.table import PREFIX
from chalicelib.domain.errors import InvalidInput, NotFound, Problem, TooLarge
from chalicelib.domain.journal import timestamp
from chalicelib.engine.artifact_access import PREFIX as ARTIFACT
from chalicelib.engine.artifact_access import grant, may_read

blueprint = Blueprint(__name__)
_HASH: Final = re.compile("[0-9a-f]{64}")
#: Milliseconds that presigned URLs hold (ports.Artifacts).
_URL_MS: Final = 15 * 60_000


@operation(blueprint)
def announce_artifact(call: Call) -> Answer:
    """A presigned upload for exactly these bytes. The caller's tenant may read the artifact from then on."""
    body = call.members(required=("sha256", "size"))
    sha256, services = body["sha256"], call.services
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        problem = Problem("bad_sha256", "/sha256", "Send 64 lowercase hexadecimal digits.")
        raise InvalidInput("sha256 is not a SHA-256.", (problem,))
    size = check_count(body["size"], "/size", 1 << 50)
    if size > services.limits.artifact_bytes:
        raise TooLarge(f"An artifact has at most {services.limits.artifact_bytes} bytes, not {size}.")
    ref = ARTIFACT + sha256
    grant(services.directory, call.tenant, [ref])
    view = {
        "artifact": ref,
        "upload_url": services.artifacts.upload_url(sha256, size),
        "method": "PUT",
        "expires_at": timestamp(services.clock.now_ms() + _URL_MS),
    }
    return Answer(view, 201, {"Location": f"{services.public_url}{PREFIX}/artifacts/{sha256}"})


@operation(blueprint)
def get_artifact(call: Call) -> Answer:
    """Off to a presigned download."""
    sha256, services = call.params["sha256"], call.services
    if not _HASH.fullmatch(sha256) or not may_read(services.directory, call.tenant, sha256):
        raise NotFound(f"There is no artifact {ARTIFACT}{sha256[:64]}.")
    return Answer(None, 303, {"Location": services.artifacts.download_url(sha256)})
