"""Rules inside one node or the head of the document that the models cannot say: what excludes or needs what."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.json_form import mentions
from chalicelib.domain.limits import Limits
from chalicelib.domain.node_bodies import bodies_of
from chalicelib.domain.node_kinds import ARMED_TYPES, INLINE_TYPES
from chalicelib.domain.node_queues import queue_of
from chalicelib.domain.node_types import UNTEMPLATED_KEYS
from chalicelib.domain.problem_list import ProblemList, pointer

Json = Any


def check_head(document: dict[str, Json], problems: ProblemList) -> None:
    """The top-level keys: the input schema."""
    schema = document.get("input_schema")
    if isinstance(schema, (dict, bool)):
        # Loaded when a document first has a schema: it doubles the time of a cold start.
        from chalicelib.domain.schema_conditions import schema_problems  # noqa: PLC0415

        problems.extend(schema_problems(schema, "/input_schema"))


def check_parts(node: dict[str, Json], index: int, problems: ProblemList, warnings: ProblemList) -> None:
    """Config and times of a node and of the bodies inside it."""
    for part, path in ((node, ()), *((body.part, body.path) for body in bodies_of(node) if body.written)):
        where = pointer("nodes", index, *path)
        _check_times(part, where, problems, warnings)
        if part.get("type") == "map" and part.get("retry") is not None:
            text = "A map is not tried again as a whole: put the retry into its body, which is tried again per item."
            problems.add("bad_value", where + "/retry", text)
        if isinstance(part.get("config"), dict):
            _check_config(part.get("type"), part["config"], where + "/config", problems)


def _check_times(part: dict[str, Json], where: str, problems: ProblemList, warnings: ProblemList) -> None:
    """They fit the type: only work on a queue beats or is asked about, and what runs at once has no time to run out."""
    kind = part.get("type")
    if part.get("heartbeat_ms") is not None and _is_idle(part, INLINE_TYPES | ARMED_TYPES):
        text = f'Nothing reports heartbeats for a node of type "{kind}"; remove heartbeat_ms.'
        problems.add("bad_value", where + "/heartbeat_ms", text)
    if part.get("check_before_start") is True and _is_idle(part, INLINE_TYPES | ARMED_TYPES):
        text = f'No worker does a node of type "{kind}"; remove check_before_start.'
        problems.add("bad_value", where + "/check_before_start", text)
    if part.get("timeout_ms") is not None and _is_idle(part, INLINE_TYPES):
        text = f'A node of type "{kind}" runs at once: timeout_ms has no effect on it. Remove it.'
        warnings.add("no_effect", where + "/timeout_ms", text)


def _is_idle(part: dict[str, Json], kinds: frozenset[str]) -> bool:
    """Whether the part is of one of these kinds, and no worker does it."""
    return isinstance(part.get("type"), str) and part["type"] in kinds and not queue_of(part)


def check_blocks(node: dict[str, Json], index: int, limits: Limits, problems: ProblemList) -> None:
    """One node's blocks and config. Parts of a wrong type are left to the schema."""
    kind, branch, loop = node.get("type"), node.get("branch"), node.get("loop")
    for block in ("branch", "loop"):
        if kind == block and node.get(block) is None:
            text = f'A node of type "{block}" needs a "{block}" block; add it.'
            problems.add("missing_key", pointer("nodes", index, block), text)
    if isinstance(branch, dict):
        _check_branch(branch, index, problems)
    if isinstance(loop, dict):
        _check_loop(loop, index, limits, problems)
    if isinstance(node.get("join"), dict):
        _check_join(node["join"], index, problems)


def _check_human(config: dict[str, Json], where: str, problems: ProblemList) -> None:
    form, approvers, quorum = (config.get(name) for name in ("form", "approvers", "quorum"))
    if form is not None and not mentions(form, "${"):
        from chalicelib.domain.schema_conditions import schema_problems  # noqa: PLC0415  # as in check_head

        problems.extend(schema_problems(form, where + "/form"))
    if isinstance(approvers, list) and isinstance(quorum, int) and quorum > len(approvers):
        text = f"A quorum of {quorum} cannot be reached by {len(approvers)} approvers; name more, or lower it."
        problems.add("bad_value", where + "/quorum", text)


def _check_branch(branch: dict[str, Json], index: int, problems: ProblemList) -> None:
    if branch.get("type") == "agent_driven":
        if branch.get("available_next_nodes") is None:
            text = 'An agent-driven branch needs "available_next_nodes", the list of ids it may name; add it.'
            problems.add("missing_key", pointer("nodes", index, "branch", "available_next_nodes"), text)
        for key in ("rules", "mode"):
            if branch.get(key) is not None:
                text = f'An agent-driven branch takes no "{key}"; remove it.'
                problems.add("bad_value", pointer("nodes", index, "branch", key), text)
    else:
        if branch.get("rules") is None:
            text = 'A branch needs "rules", a list of conditions with next_nodes; add it.'
            problems.add("missing_key", pointer("nodes", index, "branch", "rules"), text)
        if branch.get("available_next_nodes") is not None:
            text = 'Only a branch of type "agent_driven" takes "available_next_nodes"; set that type, or use rules.'
            problems.add("bad_value", pointer("nodes", index, "branch", "available_next_nodes"), text)


def _check_loop(loop: dict[str, Json], index: int, limits: Limits, problems: ProblemList) -> None:
    count = loop.get("max_iterations")
    if isinstance(count, int) and not isinstance(count, bool) and count > limits.loop_iterations:
        text = f"At most {limits.loop_iterations} iterations are allowed; lower max_iterations from {count}."
        problems.add("limit_exceeded", pointer("nodes", index, "loop", "max_iterations"), text)


def _check_join(join: dict[str, Json], index: int, problems: ProblemList) -> None:
    if (join.get("any") is None) == (join.get("count") is None):
        text = 'A join object says exactly one of "any": true and "count": n; correct it.'
        problems.add("bad_join", pointer("nodes", index, "join"), text)


def _check_config(kind: Json, config: dict[str, Json], where: str, problems: ProblemList) -> None:
    if kind == "wait" and (config.get("seconds") is None) == (config.get("until") is None):
        text = 'A wait says exactly one of "seconds" and "until"; correct it.'
        problems.add("bad_value", where, text)
    if kind == "map" and (config.get("body") is None) == (config.get("workflow") is None):
        text = 'A map says exactly one of "body" and "workflow", what is done for each item; correct it.'
        problems.add("bad_value", where, text)
    if kind == "map" and config.get("input") is not None and config.get("workflow") is None:
        text = '"input" is that of the child runs of a "workflow"; a body has a config of its own. Remove it.'
        problems.add("bad_value", where + "/input", text)
    if kind == "human":
        _check_human(config, where, problems)
    if kind == "transform":
        _check_transform(config, where, problems)
    for key in sorted(UNTEMPLATED_KEYS & config.keys()):
        if mentions(config[key], "${"):
            text = f'"{key}" takes no templates: it is fixed when the workflow compiles. Write the value itself.'
            problems.add("template_not_allowed", where + pointer(key), text)


def _check_transform(config: dict[str, Json], where: str, problems: ProblemList) -> None:
    if "value" not in config and "pipeline" not in config:
        text = 'A transform says exactly one of "value" and "pipeline"; add it.'
        problems.add("missing_key", where + "/value", text)
    if "value" in config and "pipeline" in config:
        text = 'A transform says exactly one of "value" and "pipeline"; remove one.'
        problems.add("bad_value", where, text)
    if "data" in config and "pipeline" not in config:
        text = 'Only a pipeline takes "data"; remove it, or add the pipeline.'
        problems.add("bad_value", where + "/data", text)
    if "pipeline" in config:
        # Loaded when a document first has a pipeline: most have none.
        from chalicelib.domain.pipeline_check import check_pipeline, data_tables  # noqa: PLC0415

        tables, current = data_tables(config.get("data"))
        found = check_pipeline(config["pipeline"], where + "/pipeline", tables=tables, current=current, templated=True)
        problems.extend(found[1])
