"""In place of API Gateway and the API's Lambda: agents reach the routes' own code, checks of credentials first."""

from __future__ import annotations

import base64
import json
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

from chalicelib.api.auth import authorise
from chalicelib.api.call import Call
from chalicelib.api.idempotency import answer_once
from chalicelib.api.patches import patch_run
from chalicelib.api.problems import Answer, refusal
from chalicelib.api.runs import get_graph
from chalicelib.api.table import BY_ID, Route
from chalicelib.domain.errors import GraftError, TaskError
from chalicelib.engine.credentials import Claims
from chalicelib.engine.services import Services
from chalicelib.workers.address_guard import AddressGuard
from chalicelib.workers.http_client import HttpClient, Request, Response
from tests.simulation.strands import Killed

#: Method -> the route that agents use by it, and what answers there.
VIEWS = {"GET": (BY_ID["get_graph"], get_graph), "POST": (BY_ID["patch_run"], patch_run)}
#: Failures in a row after which the client waits for an answer however long that takes: more than these the agent's
#: own client takes for the end of the attempt, which no reference could know.
MOST_FAILURES = 3


@dataclass(frozen=True)
class Asked:
    """A request to the route of one run."""

    method: str
    run_id: str
    headers: dict[str, str]
    body: bytes

    @property
    def attempt(self) -> str:
        """The attempt that the request's credential was made for, as its token says."""
        part = self.headers["authorization"].split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["attempt"])

    def stolen(self) -> Asked:
        """Another patch under the same credential."""
        node = {"op": "add", "path": "/nodes/-", "value": {"id": "stolen", "type": "pass"}}
        body = json.dumps({"operations": [node], "description": "stolen"}).encode()
        return replace(self, headers={**self.headers, "idempotency-key": "stolen"}, body=body)

    def serve(self, services: Services) -> Answer:
        """What a new process of the API answers, as `api.endpoint` does. May be killed anywhere."""
        route, view = VIEWS[self.method]
        params = {"run_id": self.run_id}
        try:
            claims = _authorised(services, route, params, self.headers)
            path = route.path.format(run_id=self.run_id)
            call = Call(services, route, params, {}, self.headers, self.body, claims, None, path)
            return view(call) if self.method == "GET" else answer_once(call, call.scope, view)
        except GraftError as error:
            return refusal(error)


def _authorised(services: Services, route: Route, params: dict[str, str], headers: dict[str, str]) -> Claims | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the secret of these worlds is short
        return authorise(services.secret, route, params, headers, services.clock.now_ms())


class Gateway(HttpClient):
    """The client of one agent's process. Where the process of the API dies, the agent's may live on."""

    def __init__(
        self, services: Callable[[], Services], rng: random.Random, seen: Callable[[Asked, str], None]
    ) -> None:
        """`seen` is told of each request, and how it ended: its status, `lost`, or the error that nobody meant."""
        super().__init__(AddressGuard())
        self._services, self._rng, self._seen, self._failures = services, rng, seen, 0

    def send(self, request: Request, seconds: float, final: Callable[[int], bool] = lambda status: False) -> Response:
        """The answer. Raises TaskError for a connection that broke."""
        parts = request.url.target.split("/")
        asked = Asked(request.method, parts[parts.index("runs") + 1], request.headers, request.body or b"")
        while True:
            answer = self._ask(asked)
            self._failures = self._failures + 1 if answer is None or answer.status >= 500 else 0
            if self._failures > MOST_FAILURES:
                continue
            if answer is None:
                raise TaskError("HttpError", "the connection broke")
            headers = {name.lower(): text for name, text in answer.headers.items()}
            return Response(answer.status, headers, json.dumps(answer.body).encode())

    def _ask(self, asked: Asked) -> Answer | None:
        try:
            answer = asked.serve(self._services())
        except Killed:
            self._seen(asked, "lost")
            if self._rng.random() < 0.5:
                raise
            return None
        except Exception as error:
            self._seen(asked, repr(error))
            raise
        self._seen(asked, str(answer.status))
        return answer
