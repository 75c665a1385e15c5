"""The routes for people and for events from outside, for the table of all routes."""

from __future__ import annotations

from typing import Final

from chalicelib.api.route import LINK, PAGE, Route

_JOB = "Which of several executions of the node that wait."

PEOPLE_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "list_approvals",
        "GET",
        "/approvals",
        "approvals",
        "List what waits for people, the oldest first.",
        query={"mine": "true: only what the caller may still decide.", **PAGE},
        bound=True,
    ),
    Route(
        "decide_node",
        "POST",
        "/runs/{run_id}/nodes/{node_id}/decision",
        "approvals",
        "Approve or reject: one decision per person.",
        body={
            "approved": "true or false.",
            "comment": "Why, at most 4096 characters.",
            "data": "What fits the node's form, at most 32 KiB of JSON.",
            "job_id": _JOB,
        },
        required=("approved",),
    ),
    Route(
        "make_decision_links",
        "POST",
        "/runs/{run_id}/nodes/{node_id}/links",
        "approvals",
        "Make links by which one person approves or rejects without a token.",
        201,
        body={
            "for": "Whose decision it will be: the caller's by default; another person's needs the scope admin.",
            "ttl_s": "Seconds until they expire, 60 to 2592000 (default 604800).",
            "job_id": _JOB,
        },
        body_optional=True,
    ),
    Route(
        "show_decision",
        "GET",
        "/decisions/{token}",
        LINK,
        "Show what a decision link would decide. Nothing is decided by it.",
        html=True,
    ),
    Route(
        "use_decision_link",
        "POST",
        "/decisions/{token}",
        LINK,
        "Decide as the link says. A link works once.",
        body={"comment": "Why, at most 4096 characters.", "data": "What fits the node's form."},
        body_optional=True,
        html=True,
    ),
    Route(
        "send_event",
        "POST",
        "/runs/{run_id}/signals/{name}",
        "runs:control",
        "Send an event to a run: the body is its payload. It is kept until an event node takes it.",
        202,
        any_body=True,
    ),
)
