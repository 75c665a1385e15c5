"""Shows a run with the runs that it has called, and theirs."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from rich.tree import Tree

from infra.cli import show
from infra.cli.client import Api

Json = Any
#: Children asked for in one request.
PAGE = 200
#: Runs shown: a map may call very many.
MOST = 2000


def show_tree(api: Api, run: dict[str, Json], *, as_json: bool) -> None:
    """Print the run's family, as a tree or as JSON `{run_id, workflow, status, node_id, children, more}`."""
    found = _family(api, run, None, [MOST])
    if as_json:
        show.print_json(found)
    else:
        show.out().print(_branch(found))


def _family(api: Api, run: dict[str, Json], node: str | None, left: list[int]) -> dict[str, Json]:
    """The run and all below it; `left` counts down the runs that may still be shown."""
    family: dict[str, Json] = {"run_id": run["run_id"], "workflow": run.get("workflow"), "status": run.get("status")}
    family |= {"node_id": node, "children": [], "more": False}
    cursor: str | None = None
    while True:
        page = api.get("/runs", parent=run["run_id"], limit=PAGE, cursor=cursor)
        for child in page["items"]:
            if left[0] == 0:
                family["more"] = True
                return family
            left[0] -= 1
            called_by = (child.get("parent") or {}).get("node_id")
            family["children"].append(_family(api, child, called_by, left))
        cursor = page.get("next_cursor")
        if not cursor:
            return family


def _branch(family: dict[str, Json]) -> Tree:
    tree = Tree(_line(family))
    for child in family["children"]:
        tree.children.append(_branch(child))
    if family["more"]:
        tree.add(show.clean("… and more", "dim"))
    return tree


def _line(family: dict[str, Json]) -> Text:
    """`node: workflow@3  status  run id`."""
    workflow = family.get("workflow") or {}
    version = f"@{workflow['version']}" if workflow.get("version") else ""
    line = Text()
    if family["node_id"]:
        line += show.clean(f"{family['node_id']}: ", "bold")
    line += show.clean(f"{workflow.get('name') or 'a document'}{version}  ")
    return line + show.status(family["status"]) + show.clean(f"  {family['run_id']}", "dim")
