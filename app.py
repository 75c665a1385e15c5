"""The Chalice app: registers the blueprints of the HTTP API and of the queue and schedule handlers."""

from __future__ import annotations

from chalice.app import Chalice

from chalicelib.api import (
    approvals,
    artifacts,
    controls,
    dead_letters,
    decision_links,
    diagnosis,
    events,
    fallback,
    patches,
    redo,
    run_events,
    runs,
    schedules,
    service,
    starts,
    tasks,
    versions,
    workflow_settings,
    workflows,
)
from chalicelib.handlers import blueprints

# The loggers are named graft.*: Chalice would silence them below ERROR.
app = Chalice(app_name="graft", configure_logs=False)
app.register_blueprint(workflows.blueprint)
app.register_blueprint(versions.blueprint)
app.register_blueprint(schedules.blueprint)
app.register_blueprint(workflow_settings.blueprint)
app.register_blueprint(starts.blueprint)
app.register_blueprint(runs.blueprint)
app.register_blueprint(controls.blueprint)
app.register_blueprint(patches.blueprint)
app.register_blueprint(redo.blueprint)
app.register_blueprint(events.blueprint)
app.register_blueprint(approvals.blueprint)
app.register_blueprint(decision_links.blueprint)
app.register_blueprint(run_events.blueprint)
app.register_blueprint(artifacts.blueprint)
app.register_blueprint(tasks.blueprint)
app.register_blueprint(diagnosis.blueprint)
app.register_blueprint(dead_letters.blueprint)
app.register_blueprint(service.blueprint)
app.register_blueprint(fallback.blueprint)
for blueprint in blueprints:
    app.register_blueprint(blueprint)
