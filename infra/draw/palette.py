"""The colours and the icons of the picture."""

from __future__ import annotations

#: Page, box, outline, main text, dim text, plain edge.
PAGE, PAPER, OUTLINE, INK, DIM, EDGE = "#f6f7fb", "#ffffff", "#cfd6e4", "#182033", "#5b6782", "#7a879f"

#: Node type -> colour of its icon and of the bar at its left.
TYPES = {
    "function": "#4f46e5",
    "http": "#0e7490",
    "transform": "#7c3aed",
    "agent": "#be185d",
    "human": "#b45309",
    "wait": "#a16207",
    "event": "#c2410c",
    "queue": "#4d7c0f",
    "map": "#0f766e",
    "workflow": "#1d4ed8",
    "branch": "#a21caf",
    "loop": "#0369a1",
    "pass": "#475569",
    "fail": "#b91c1c",
    "succeed": "#15803d",
}
UNKNOWN = "#64748b"

#: Node or run status -> (strong colour, pale fill).
STATES = {
    "PENDING": ("#94a3b8", "#ffffff"),
    "RUNNING": ("#2563eb", "#eaf1ff"),
    "WAITING": ("#b45309", "#fff7e6"),
    "RETRYING": ("#c2410c", "#fff0e6"),
    "PAUSED": ("#b45309", "#fff7e6"),
    "COMPLETED": ("#15803d", "#ebf9ef"),
    "FAILED": ("#b91c1c", "#fdeeee"),
    "TIMED_OUT": ("#b91c1c", "#fdeeee"),
    "SKIPPED": ("#94a3b8", "#f1f3f8"),
    "CANCELLED": ("#6b7280", "#f1f1f3"),
}

#: Change by a patch -> colour of its mark.
MARKS = {"added": "#15803d", "changed": "#b45309", "removed": "#b91c1c"}

#: Kind of edge -> (colour, dash pattern).
EDGES = {
    "success": (EDGE, ""),
    "branch": ("#a21caf", ""),
    "default": ("#a21caf", "2 4"),
    "break": ("#0369a1", ""),
    "timeout": ("#c2410c", "2 4"),
    "failure": ("#b91c1c", "6 4"),
    "always": (EDGE, "2 4"),
    "loop": ("#0369a1", ""),
    "cycle": ("#b91c1c", ""),
}

#: Stroked paths in a square of 16 by 16.
ICONS = {
    "function": "M6 3C4 3 5 7 3 8C5 9 4 13 6 13M10 3C12 3 11 7 13 8C11 9 12 13 10 13",
    "http": "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M2 8h12M8 2c-4 4-4 8 0 12c4-4 4-8 0-12",
    "transform": "M2 5h10M9 2l3 3-3 3M14 11H4M7 8l-3 3 3 3",
    "agent": "M8 1.5l1.8 4.7L14.5 8l-4.7 1.8L8 14.5l-1.8-4.7L1.5 8l4.7-1.8z",
    "human": "M8 8a3 3 0 1 0 0-6a3 3 0 1 0 0 6M2.5 14c1-5.5 10-5.5 11 0",
    "wait": "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M8 4.500v3.500l2.5 2",
    "event": "M9 1.500L3.5 9H7.500l-1 5.500L12.5 7H8.500z",
    "queue": "M2.5 4h11M2.5 8h11M2.5 12h11",
    "map": "M2.5 2.500h4v4h-4zM9.5 2.500h4v4h-4zM2.5 9.500h4v4h-4zM9.5 9.500h4v4h-4z",
    "workflow": "M2 3h5v4H2zM9 9h5v4H9zM4.5 7v4H9",
    "branch": "M2 8h2.500c3 0 3-4 8-4M4.5 8c3 0 3 4 8 4M10.5 2l2 2-2 2M10.5 10l2 2-2 2",
    "loop": "M13 8.500a5 5 0 1 1-1.7-4M11.8 1.500v3.200H8.6",
    "pass": "M2 8h11M9 4l4 4-4 4",
    "fail": "M4 4l8 8M12 4l-8 8",
    "succeed": "M3 8.500l3.5 3.500L13 4.5",
}
UNKNOWN_ICON = "M5.5 6a2.5 2.5 0 1 1 3.5 2.300c-.8.4-1 .900-1 1.700M8 12.800v.2"
