"""The Chalice app: registers the blueprints of the HTTP API and of the queue and schedule handlers."""

from __future__ import annotations

from chalice.app import Chalice

from chalicelib.api import artifacts, events, fallback, runs, service, starts, tasks, workflows
from chalicelib.handlers import blueprints

app = Chalice(app_name="graft")
app.register_blueprint(workflows.blueprint)
app.register_blueprint(starts.blueprint)
app.register_blueprint(runs.blueprint)
app.register_blueprint(events.blueprint)
app.register_blueprint(artifacts.blueprint)
app.register_blueprint(tasks.blueprint)
app.register_blueprint(service.blueprint)
app.register_blueprint(fallback.blueprint)
for blueprint in blueprints:
    app.register_blueprint(blueprint)
