"""Lambda's event handlers, as Blueprints that app.py registers."""

from __future__ import annotations

from chalicelib.handlers import coordinator, dead_letters, schedules, workers

blueprints = (coordinator.blueprint, workers.blueprint, schedules.blueprint, dead_letters.blueprint)
