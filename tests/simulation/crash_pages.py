"""The demo's pages without a server, for the http worker's tasks and for what agents request."""

from __future__ import annotations

from typing import Any

from chalicelib.engine.task import Task
from infra.cli.demo_data import page, read_rows

Json = Any


class Pages:
    """In place of the http worker."""

    def __init__(self) -> None:
        self._rows = read_rows()

    def run(self, task: Task) -> Json:
        """The answer to GET /penguins?page=&size=."""
        return self.request(task.config)

    def request(self, config: Json, *_: object) -> Json:
        """The same for a request of an agent."""
        query = config["query"]
        return {"status": 200, "headers": {}, "body": page(self._rows, int(query["page"]), int(query["size"]))}
