"""Chalice's configuration names every function of the app, and the app learns its stage from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.domain.errors import ConfigurationError
from infra.deploy import ROOT
from infra.deploy.package import Packaged, architecture, bound_to, copy_sources, package
from infra.deploy.policies import ROLES, policy_path, write_stage

Json = Any


@pytest.fixture(scope="module")
def config() -> Json:
    return json.loads((ROOT / ".chalice" / "config.json").read_text())


def test_every_role_has_a_policy_of_its_own_in_every_stage(config: Json):
    """A function without one would fall back to a file that is not there, and Chalice says so."""
    for stage, settings in config["stages"].items():
        named = {name: made["iam_policy_file"] for name, made in settings["lambda_functions"].items()}
        roles = {"api" if name == "api_handler" else name.replace("_", "-"): path for name, path in named.items()}
        assert roles == {role: policy_path(stage, role).name for role in ROLES}
        assert "iam_policy_file" not in settings


def test_each_stage_tells_the_app_its_name(config: Json):
    for stage, settings in config["stages"].items():
        assert settings["environment_variables"]["GRAFT_STAGE"] == stage


def test_chalice_s_own_guess_at_policies_is_off_and_nothing_reserves_concurrency(config: Json):
    assert config["autogen_policy"] is False
    assert "reserved_concurrency" not in json.dumps(config)


def test_the_environment_of_whoever_packages_does_not_choose_the_queues(
    packaged: Callable[[str], Packaged], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Chalice imports the app under the stage's variables of config.json, not under the caller's."""
    monkeypatch.setenv("GRAFT_STAGE", "elsewhere")
    monkeypatch.setenv("GRAFT_QUEUE_PREFIX", "elsewhere-")
    text = package("prod", tmp_path, project).template.read_text()
    assert "elsewhere" not in text
    assert text == packaged("prod").template.read_text()


def test_a_function_without_a_policy_is_refused_by_name_of_the_missing_file(project: Path, tmp_path: Path):
    copy = copy_sources(project, tmp_path / "copy")
    app = (copy / "app.py").read_text()
    (copy / "app.py").write_text(app + '\n\n@app.schedule("rate(1 hour)")\ndef unknown(event):\n    return None\n')
    with pytest.raises(ConfigurationError, match=r"policy-dev\.json"):
        package("dev", tmp_path / "out", copy)


def test_a_new_stage_gets_its_policies_from_those_of_dev(project: Path, tmp_path: Path):
    copy = copy_sources(project, tmp_path / "copy")
    paths = write_stage("blue", copy)
    assert [path.name for path in paths] == [f"policy-blue-{role}.json" for role in ROLES]
    for path in paths:
        assert "graft-dev" not in path.read_text()
        assert "graft-blue" in path.read_text()


def test_a_template_is_bound_to_its_stage_without_touching_the_original():
    template = {"Parameters": {"Stage": {"Default": "dev"}, "Other": {}}, "Resources": {}}
    assert bound_to(template, "blue")["Parameters"]["Stage"] == {"Default": "blue", "AllowedValues": ["blue"]}
    assert template["Parameters"]["Stage"] == {"Default": "dev"}


def test_a_stage_may_choose_another_processor(tmp_path: Path):
    (tmp_path / ".chalice").mkdir()
    stages = {"old": {"lambda_architecture": "x86_64"}}
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps({"lambda_architecture": "arm64", "stages": stages}))
    assert (architecture(tmp_path, "old"), architecture(tmp_path, "dev")) == ("x86_64", "arm64")
