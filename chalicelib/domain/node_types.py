"""The node types of SPEC 2, and which of them this version runs."""

from __future__ import annotations

#: Types that compile.
AVAILABLE_TYPES = frozenset({"function", "http", "transform", "wait", "pass", "branch", "loop", "fail", "succeed"}) | {
    "human",
    "event",
    "map",
    "queue",
    "workflow",
}
#: Types of the contract that are recognised and refused until they exist.
LATER_TYPES = frozenset({"agent"})
NODE_TYPES = AVAILABLE_TYPES | LATER_TYPES

#: Logical queues of the types that are tasks.
QUEUES = {"function": "tasks-function", "http": "tasks-http"}
#: Types of what undoes a node: work that is done, not waited for.
UNDO_TYPES = frozenset({"function", "http", "transform", "queue"})
#: Types of what a map does for each item.
BODY_TYPES = UNDO_TYPES | {"human", "event", "wait", "workflow"}
#: Types whose config may hold `${secret.NAME}`.
SECRET_TYPES = frozenset({"function", "http", "agent"})
#: Config keys that take no templates: what a run may reach is fixed when it compiles.
UNTEMPLATED_KEYS = frozenset({"handler", "queue", "workflow", "provider", "model", "tools"})
