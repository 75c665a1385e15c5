"""Every route of the HTTP API in one table: method, path, scope, and what goes in and out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Json = Any
PREFIX: Final = "/api/v1"
#: In place of a scope: no credential, any valid credential, the callback token in the path.
PUBLIC: Final = "(public)"
ANY: Final = "(any)"
TASK: Final = "(task)"


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `id` is the name of its view, and its operationId."""

    id: str
    method: str
    #: Below `/api/v1`; parameters in braces.
    path: str
    scope: str
    summary: str
    #: Status of success.
    status: int = 200
    #: Query parameters: name -> what it means.
    query: dict[str, str] = field(default_factory=dict)
    #: Body members: name -> what it means; the names that must be there.
    body: dict[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    body_optional: bool = False
    #: The body is a JSON Patch document: a list of operations.
    json_patch: bool = False

    @property
    def full_path(self) -> str:
        """The path as served."""
        return PREFIX + self.path


_PAGE = {"limit": "Items on a page, 1 to 200 (default 50).", "cursor": "A next_cursor of an earlier page."}
_START = {
    "input": "The run's input, any JSON (default {}).",
    "run_id": "An id of your choice; the same id with the same body is the same run.",
    "timeout_ms": "The run's timeout in milliseconds.",
    "version": "A saved version's number.",
    "tag": "A saved version's tag.",
}
_REASON = {
    "description": "Why.",
    "base_revision": "The revision that the patch was made for; another one is refused.",
    "dry_run": "Answer as if, and change nothing.",
}

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "validate_workflow",
        "POST",
        "/workflows/validate",
        "workflows:write",
        "Compile a workflow document and run nothing.",
        body={"workflow": "The document; the document itself may be the body instead."},
    ),
    Route(
        "save_workflow",
        "POST",
        "/workflows",
        "workflows:write",
        "Save a workflow as a new version; the same content is the same version.",
        201,
        body={"name": "The workflow's name.", "workflow": "The document.", "tag": "A tag to point at this version."},
        required=("name", "workflow"),
    ),
    Route("list_workflows", "GET", "/workflows", "runs:read", "List workflows by name.", query=_PAGE),
    Route(
        "get_workflow",
        "GET",
        "/workflows/{name}",
        "runs:read",
        "Read a workflow's latest version, or the one of a number or tag.",
        query={"version": "A version's number.", "tag": "A tag's name."},
    ),
    Route(
        "start_saved_run",
        "POST",
        "/workflows/{name}/runs",
        "runs:start",
        "Start a run of a saved workflow.",
        202,
        body=_START,
        body_optional=True,
    ),
    Route(
        "start_run",
        "POST",
        "/runs",
        "runs:start",
        "Start a run of a document, or of a saved workflow by `name`, `name@3` or `name@tag`.",
        202,
        body={**_START, "workflow": "The document, or a reference to a saved one."},
        required=("workflow",),
    ),
    Route(
        "list_runs",
        "GET",
        "/runs",
        "runs:read",
        "List runs, newest first.",
        query={
            "workflow": "Only this workflow's.",
            "status": "Only these.",
            "since": "Created since (RFC 3339).",
            **_PAGE,
        },
    ),
    Route("get_run", "GET", "/runs/{run_id}", "runs:read", "Read a run."),
    Route("get_node", "GET", "/runs/{run_id}/nodes/{node_id}", "runs:read", "Read one node and its executions."),
    Route(
        "get_events",
        "GET",
        "/runs/{run_id}/events",
        "runs:read",
        "Read a run's events in order.",
        query={
            "after": "Only events with a larger seq (default 0).",
            "limit": "Events on a page, 1 to 1000 (default 100).",
            "wait": "Seconds to wait for an event where there is none, 0 to 25.",
        },
    ),
    Route("get_graph", "GET", "/runs/{run_id}/workflow", "runs:read", "Read the run's workflow document as it is now."),
    Route(
        "explain_run",
        "GET",
        "/runs/{run_id}/explain",
        "runs:read",
        "Say why a run is not moving: what each token and open join waits for, since when, and what moves it.",
    ),
    Route("verify_run", "GET", "/runs/{run_id}/verify", "runs:read", "Fold the journal and compare it with the state."),
    Route(
        "patch_run",
        "POST",
        "/runs/{run_id}/patch",
        "runs:patch",
        "Change the graph of a live run.",
        body={**_REASON, "operations": "JSON Patch operations; node ids and edge names may stand for indexes."},
        required=("operations",),
    ),
    Route(
        "patch_run_document",
        "PATCH",
        "/runs/{run_id}",
        "runs:patch",
        "Change the graph of a live run by a JSON Patch document; If-Match takes the revision.",
        query={"description": "Why."},
        json_patch=True,
    ),
    Route(
        "patch_run_operations",
        "PATCH",
        "/runs/{run_id}/patch",
        "runs:patch",
        "Change the graph of a live run by a JSON Patch document; If-Match takes the revision.",
        query={"description": "Why."},
        json_patch=True,
    ),
    Route(
        "list_patches",
        "GET",
        "/runs/{run_id}/patches",
        "runs:read",
        "List a run's patches: what changed, by whom, why.",
        query=_PAGE,
    ),
    Route(
        "revert_patch",
        "POST",
        "/runs/{run_id}/patches/{n}/revert",
        "runs:patch",
        "Take a patch back by a new one.",
        body=_REASON,
        body_optional=True,
    ),
    Route("cancel_run", "POST", "/runs/{run_id}/cancel", "runs:control", "End a run.", body_optional=True),
    Route("pause_run", "POST", "/runs/{run_id}/pause", "runs:control", "Hold what becomes ready.", body_optional=True),
    Route(
        "redrive_run",
        "POST",
        "/runs/{run_id}/redrive",
        "runs:control",
        "Run again what failed, timed out or was cancelled.",
        body_optional=True,
    ),
    Route(
        "fork_run_from",
        "POST",
        "/runs/{run_id}/fork",
        "runs:start",
        "Start a new run from a point of this one.",
        202,
        body={
            "from_seq": "Take over what happened up to this event.",
            "from_node": "Or: up to where this node first began, in its newest iteration.",
            "input": "Another input.",
            "operations": "A patch of the fork (RFC 6902), applied before anything of it begins.",
            "description": "Why.",
        },
    ),
    Route(
        "rerun_node",
        "POST",
        "/runs/{run_id}/nodes/{node_id}/rerun",
        "runs:control",
        "Run a node, and all behind it, again.",
        body_optional=True,
    ),
    Route(
        "skip_node",
        "POST",
        "/runs/{run_id}/nodes/{node_id}/skip",
        "runs:control",
        "Settle a node from outside with a substitute output.",
        body={"output": "The substitute, any JSON.", "job_id": "Which execution, where several are open."},
        body_optional=True,
    ),
    Route("resume_run", "POST", "/runs/{run_id}/resume", "runs:control", "Go on with it.", body_optional=True),
    Route(
        "announce_artifact",
        "POST",
        "/artifacts",
        "runs:start",
        "Ask for a URL to upload an artifact to.",
        201,
        body={"sha256": "The bytes' SHA-256 in lowercase hexadecimal.", "size": "How many bytes."},
        required=("sha256", "size"),
    ),
    Route("get_artifact", "GET", "/artifacts/{sha256}", "runs:read", "Go to a URL that an artifact is read from.", 303),
    Route(
        "complete_task",
        "POST",
        "/tasks/{token}/complete",
        TASK,
        "Report that the task of a callback token is done.",
        202,
        body={
            "result": "What the task gives, any JSON.",
            "result_ref": "Instead of result: an artifact's id.",
            "metadata": "What the worker tells besides.",
            "patch": "A patch of the run, applied with the completion: {operations, description}.",
        },
        body_optional=True,
    ),
    Route(
        "fail_task",
        "POST",
        "/tasks/{token}/fail",
        TASK,
        "Report that the task of a callback token has failed.",
        202,
        body={"error": "{type, message, retryable}.", "metadata": "What the worker tells besides."},
        required=("error",),
    ),
    Route(
        "beat_task", "POST", "/tasks/{token}/heartbeat", TASK, "Say that the work is alive.", 202, body_optional=True
    ),
    Route(
        "list_dead_letters",
        "GET",
        "/dead-letters",
        "admin",
        "List messages that could not be processed, newest first, with reason and origin.",
        query=_PAGE,
    ),
    Route(
        "redrive_dead_letters",
        "POST",
        "/dead-letters/redrive",
        "admin",
        "Put dead letters back into their queues.",
        body={"ids": "Only these letters, at most 100; without it all of them."},
        body_optional=True,
    ),
    Route("get_schema", "GET", "/schema", ANY, "The JSON Schema of the workflow document."),
    Route("get_health", "GET", "/health", PUBLIC, "Whether the deployment answers."),
    Route("get_openapi", "GET", "/openapi.json", PUBLIC, "This description."),
)
BY_ID: Final = {route.id: route for route in ROUTES}
