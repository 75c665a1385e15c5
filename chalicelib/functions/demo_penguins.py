"""The functions of the demo: measures of one penguin species, and how well the species can be told apart."""

from __future__ import annotations

import math
from typing import Any

from chalicelib.functions import Context, TaskError, function

Json = Any
#: What a bill and a flipper are measured by, in millimetres.
FEATURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm")


@function("penguin_stats")
def penguin_stats(params: Json, ctx: Context) -> Json:
    """Count, mean and spread of body mass in grams, and mean measures of `rows`, all of one species.

    Raises TaskError `NoRows`, not retryable, where there are none.
    """
    rows = _rows(params, "rows")
    masses = [row["body_mass_g"] for row in rows]
    mean = sum(masses) / len(masses)
    variance = sum((mass - mean) ** 2 for mass in masses) / max(1, len(masses) - 1)
    ctx.log.info("penguin_stats read %s rows", len(rows))
    return {
        "species": rows[0]["species"],
        "count": len(rows),
        "mean_mass_g": round(mean, 1),
        "spread_mass_g": round(math.sqrt(variance), 1),
        "centre": {name: sum(row[name] for row in rows) / len(rows) for name in FEATURES},
    }


@function("penguin_score")
def penguin_score(params: Json, ctx: Context) -> Json:
    """Of how many penguins of `groups` the nearest centre among `stats` is that of their own species.

    Distances are in standard deviations of each measure. Raises TaskError `NoRows`, not retryable.
    """
    rows = [row for group in _groups(params) for row in group]
    spread = {name: _deviation([row[name] for row in rows]) for name in FEATURES}

    def nearest(row: Json) -> Json:
        return min(params["stats"], key=lambda one: _distance(row, one["centre"], spread))["species"]

    right = sum(1 for row in rows if nearest(row) == row["species"])
    ctx.log.info("penguin_score told %s of %s apart", right, len(rows))
    return {"right": right, "of": len(rows), "percent": round(100 * right / len(rows), 1)}


def _rows(params: Json, name: str) -> list[Json]:
    rows = params.get(name) if isinstance(params, dict) else None
    if not isinstance(rows, list) or not rows:
        raise TaskError("NoRows", f"/config/params/{name} must be a list with at least one row", retryable=False)
    return rows


def _groups(params: Json) -> list[list[Json]]:
    groups = params.get("groups") if isinstance(params, dict) else None
    if not isinstance(groups, dict) or not any(groups.values()):
        raise TaskError("NoRows", "/config/params/groups must hold rows by species", retryable=False)
    return list(groups.values())


def _deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) or 1.0


def _distance(row: Json, centre: Json, spread: dict[str, float]) -> float:
    return float(sum(((row[name] - centre[name]) / spread[name]) ** 2 for name in FEATURES))
