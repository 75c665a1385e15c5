"""The node types of SPEC 2."""

from __future__ import annotations

AVAILABLE_TYPES = frozenset({"function", "http", "transform", "wait", "pass", "branch", "loop", "fail", "succeed"}) | {
    "agent",
    "human",
    "event",
    "map",
    "queue",
    "workflow",
}

#: Logical queues of the types that are tasks.
QUEUES = {"function": "tasks-function", "http": "tasks-http", "agent": "tasks-agent"}
#: Types of what undoes a node: work that is done, not waited for.
UNDO_TYPES = frozenset({"function", "http", "transform", "queue"})
#: Types of what a map does for each item.
BODY_TYPES = UNDO_TYPES | {"agent", "human", "event", "wait", "workflow"}
#: Types whose config may hold `${secret.NAME}`.
SECRET_TYPES = frozenset({"function", "http", "agent"})
#: Config keys that take no templates: what a run may reach is fixed when it compiles.
UNTEMPLATED_KEYS = frozenset({"handler", "queue", "workflow", "provider", "model", "tools", "allow"})
