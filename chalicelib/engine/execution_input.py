"""The resolved config of an execution, computed again from a run's hashes as of the commit that began it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import TemplateError
from chalicelib.domain.ids import ARM, Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.map_items import parse_progress, progress_field
from chalicelib.domain.node_kinds import ARMED_TYPES, node_at
from chalicelib.domain.records import parse_began
from chalicelib.engine.dispatch import resolved
from chalicelib.engine.item_pages import ItemPages
from chalicelib.engine.needs import RUN_META, config_needs, run_info, values
from chalicelib.engine.ports import Artifacts, RunState
from chalicelib.engine.store_calls import ReadAnswer, ReadCall

Json = Any


def execution_input(
    run_id: str,
    state: RunState,
    load: Callable[[str], Plan],
    token: Token,
    item_of: Callable[[Token], dict[str, Json]],
) -> Json:
    """What the node's config came to; None where its templates fail. Artifacts in it stay references, secrets names.

    `item_of` gives `item` and `index` of a map's item, {} for other tokens. Of a node that waits it is what its arming
    read, as of the earlier commit by which that began; the config is that of the graph on which it was armed.
    """
    dis = state["dis"]
    began = parse_began(dis[token.text])
    plan = load(began.graph)
    node = node_at(plan, token)
    arm = dis.get(ARM + token.text) if node.type in ARMED_TYPES else None
    as_of = began.no if arm is None else parse_began(arm).no
    if not node.config.slots:
        return node.config.value
    needs = config_needs(plan, token)
    answer = _read(state, needs.call(run_id, as_of))
    info = run_info(answer, as_reference)
    try:
        loaded = values(needs, answer, info, began.rev, run_id, as_reference, as_of, {})
        loaded |= item_of(token)
        return resolved(node, loaded)
    except TemplateError:
        return None


def item_reader(artifacts: Artifacts, state: RunState) -> Callable[[Token], dict[str, Json]]:
    """Gives `item` and `index` of an item of a map, {} for other tokens. It may raise NotFound, Unavailable."""
    pages = ItemPages(artifacts)

    def read(token: Token) -> dict[str, Json]:
        text = None if token.index is None else state["box"].get(progress_field(token))
        if token.index is None or text is None:
            return {}
        return {"item": pages.item(parse_progress(text).pages, token.index), "index": token.index}

    return read


def as_reference(ref: str) -> Json:
    """A value that is stored as an artifact, as the API shows it."""
    return {"$artifact": ref}


def _read(state: RunState, call: ReadCall) -> ReadAnswer:
    """What the store's read script answers, from a copy of the hashes."""
    nodes: dict[str, str | None] = {}
    for name, fields in call.nodes:
        found = (_newest(state, field, call.as_of) for field in fields)
        nodes[name] = next((record for record in found if record is not None), None)
    variables = {name: _variable(state["vars"], name, call.as_of) for name in call.vars}
    edges = {field: state["ed"].get(field) for field in call.edges}
    meta = {field: state["meta"].get(field) for field in (*RUN_META, *call.meta)}
    return ReadAnswer(True, nodes, variables, edges, meta, {}, {}, {})


def _variable(variables: dict[str, str], name: str, as_of: int) -> str | None:
    record = variables.get(name)
    while record is not None and int(record.split("|", 1)[0]) > as_of:
        before = record.split("|", 2)[1]
        record = variables.get(f"{name}#{before}") if before else None
    return record


def _newest(state: RunState, field: str, as_of: int) -> str | None:
    """The newest outcome below a pointer field as of a commit: later iterations first, then earlier epochs."""
    if "#" in field:
        return _known(state, field, as_of)
    pointer = state["last"].get(field)
    if pointer is None:
        return None
    key = pointer.split("|", 1)[1]
    record = _known(state, key, as_of)
    if record is not None:
        return record
    instance, _, epoch = key.rpartition("#")
    if instance == field:
        earlier = (_known(state, f"{instance}#{number}", as_of) for number in range(int(epoch) - 1, -1, -1))
        return next((record for record in earlier if record is not None), None)
    glue = "" if field.endswith("@") else "/"
    loop, _, rest = instance.removeprefix(field + glue).partition("=")
    count = int(rest.split("/", 1)[0].split("[", 1)[0])
    below = (_newest(state, f"{field}{glue}{loop}={number}", as_of) for number in range(count, 0, -1))
    return next((record for record in below if record is not None), None)


def _known(state: RunState, key: str, as_of: int) -> str | None:
    record = state["val"].get(key)
    return record if record is not None and int(record.split("|", 1)[0]) <= as_of else None
