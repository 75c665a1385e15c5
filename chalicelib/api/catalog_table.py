"""The routes of saved workflows, for the table of all routes."""

from __future__ import annotations

from typing import Final

from chalicelib.api.route import PAGE, Route

CATALOG_ROUTES: Final[tuple[Route, ...]] = (
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
        body={
            "name": "The workflow's name.",
            "workflow": "The document.",
            "run_id": "Instead of workflow: save the graph that this run has now.",
            "tag": "A tag to point at this version.",
        },
        required=("name",),
    ),
    Route("list_workflows", "GET", "/workflows", "runs:read", "List workflows by name.", query=PAGE),
    Route(
        "get_workflow",
        "GET",
        "/workflows/{name}",
        "runs:read",
        "Read a workflow's latest version, or the one of a number or tag.",
        query={"version": "A version's number.", "tag": "A tag's name."},
    ),
    Route(
        "patch_workflow",
        "PATCH",
        "/workflows/{name}",
        "workflows:write",
        "Save what a JSON Patch document makes of the latest version; If-Match takes its number.",
        201,
        json_patch=True,
    ),
    Route(
        "list_versions",
        "GET",
        "/workflows/{name}/versions",
        "runs:read",
        "List a workflow's versions, newest first.",
        query=PAGE,
    ),
    Route(
        "diff_versions",
        "GET",
        "/workflows/{name}/diff",
        "runs:read",
        "Say which nodes, edges and fields of two versions differ.",
        query={"from": "A version's number or tag.", "to": "Another one's; the latest without it."},
    ),
    Route(
        "set_settings",
        "PUT",
        "/workflows/{name}/settings",
        "workflows:write",
        "Limit how many runs of a workflow go at a time; further ones wait, PENDING.",
        body={"max_running": "From 1 to 1,000; null lifts the limit."},
        required=("max_running",),
    ),
    Route(
        "get_settings",
        "GET",
        "/workflows/{name}/settings",
        "runs:read",
        "Read a workflow's limit, which runs count, and which wait in which order.",
    ),
    Route(
        "move_tag",
        "PUT",
        "/workflows/{name}/tags/{tag}",
        "workflows:write",
        "Point a tag at a version.",
        body={"version": "The version's number."},
        required=("version",),
    ),
    Route(
        "get_tag",
        "GET",
        "/workflows/{name}/tags/{tag}",
        "runs:read",
        "Read where a tag points, and who has moved it when.",
        query=PAGE,
    ),
)
