"""The app packaged for a stage, and the template as SAM's transform leaves it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.deploy import ROOT
from infra.deploy.package import Packaged, copy_sources, package

Json = Any


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without its requirements, which take half a minute to fetch and are not looked at here."""
    target = copy_sources(ROOT, tmp_path_factory.mktemp("deploy") / "project")
    (target / "requirements.txt").write_text("")
    return target


@pytest.fixture(scope="session")
def packaged(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Packaged]:
    """Packages a stage, once."""

    @cache
    def made(stage: str) -> Packaged:
        return package(stage, tmp_path_factory.mktemp(f"package-{stage}"), project)

    return made


@pytest.fixture(scope="session", params=["dev", "prod"])
def stage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def template(packaged: Callable[[str], Packaged], stage: str) -> Json:
    """The packaged template."""
    return json.loads(packaged(stage).template.read_text())


@pytest.fixture(scope="session")
def resources(template: Json) -> Json:
    """The resources that CloudFormation makes of the template."""
    from samtranslator.translator.transform import transform

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        source = copy.deepcopy(template)
        for resource in source["Resources"].values():
            if "CodeUri" in resource.get("Properties", {}):
                resource["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "deployment.zip"}
        return transform(source, {}, NoManagedPolicies())["Resources"]


class NoManagedPolicies:
    """The transform's door to IAM, where it looks names of managed policies up: none is used."""

    def load(self) -> dict[str, str]:
        return {}
