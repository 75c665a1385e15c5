"""Lambda's event handlers, as Blueprints that app.py registers."""

from __future__ import annotations

from chalicelib.handlers import coordinator, schedules, workers

blueprints = (coordinator.blueprint, workers.blueprint, schedules.blueprint)
