"""Packages the app for CloudFormation as `chalice package` does, from clean sources, and checks the result."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chalicelib.domain.errors import ConfigurationError
from infra.deploy import ROOT, archive

Json = Any
#: What of a project Chalice reads.
SOURCES = ("app.py", "requirements.txt", "template.yaml", "chalicelib", ".chalice")
_CHALICE = "import sys; from chalice.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Packaged:
    """A template, ready for `aws cloudformation deploy` once its CodeUri is uploaded, and the code."""

    template: Path
    archive: Path


def copy_sources(project: Path, target: Path) -> Path:
    """Copy what Chalice reads into `target`, without caches: Chalice packages whatever lies in chalicelib."""
    target.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    for name in SOURCES:
        source = project / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        elif source.is_file():
            shutil.copy2(source, target / name)
    return target


def chalice(arguments: list[str], project: Path, env: Mapping[str, str] | None = None) -> str:
    """Run Chalice's command line in `project`; returns its output. Raises ConfigurationError with it on failure."""
    # Chalice asks for a region even where it calls nothing. An own GRAFT_* would reach the app before the stage's.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRAFT_")}
    done = subprocess.run(
        [sys.executable, "-c", _CHALICE, "--project-dir", str(project), *arguments],
        env={"AWS_DEFAULT_REGION": "us-east-1", **clean, **(env or {})},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigurationError(f"chalice {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def package(stage: str, out: Path, project: Path = ROOT, env: Mapping[str, str] | None = None) -> Packaged:
    """Package `project` for `stage` into `out`. Raises ConfigurationError when Chalice refuses."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="graft-package-") as folder:
        copy = copy_sources(project, Path(folder) / "project")
        made = copy / "out"
        arguments = ["package", "--stage", stage, "--merge-template", str(copy / "template.yaml"), str(made)]
        chalice(arguments, copy, env)
        template = yaml.safe_load((made / "sam.yaml").read_text())
        shutil.move(made / "deployment.zip", out / "deployment.zip")
    # JSON, because CloudFormation does not take the YAML aliases that Chalice writes.
    path = out / "template.json"
    path.write_text(json.dumps(bound_to(template, stage), indent=1, sort_keys=True) + "\n")
    return Packaged(path, out / "deployment.zip")


def bound_to(template: Json, stage: str) -> Json:
    """The template for this one stage: its mappings and policies were written for it when it was packaged."""
    declared = {**template["Parameters"]["Stage"], "Default": stage, "AllowedValues": [stage]}
    return {**template, "Parameters": {**template["Parameters"], "Stage": declared}}


def architecture(project: Path, stage: str) -> str:
    """The processor that .chalice/config.json names for the stage."""
    config = json.loads((project / ".chalice" / "config.json").read_text())
    of_stage = config.get("stages", {}).get(stage, {})
    return str(of_stage.get("lambda_architecture") or config.get("lambda_architecture") or "x86_64")


def main() -> None:
    """Package one stage, list what takes room, and fail when the archive is wrong."""
    parser = argparse.ArgumentParser(description="Package the app for CloudFormation.")
    parser.add_argument("--stage", default="dev")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    arguments = parser.parse_args()
    made = package(arguments.stage, arguments.out)
    for size in archive.sizes(made.archive)[:15]:
        print(f"{size.zipped / 1e6:8.2f} MB zipped {size.unpacked / 1e6:8.2f} MB unpacked  {size.name}")
    faults = archive.check(made.archive, ROOT, architecture(ROOT, arguments.stage))
    print(f"{made.template}\n{made.archive} ({made.archive.stat().st_size / 1e6:.2f} MB)")
    if faults:
        sys.exit("The archive must not be deployed: " + "; ".join(faults))


if __name__ == "__main__":
    main()
