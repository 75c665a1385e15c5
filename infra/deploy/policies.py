"""Checks the roles' policies, and makes a stage's policies from those written for `dev`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from infra.deploy import ROOT

Json = Any
#: The stage whose policies are written by hand; every other stage's differ in the names of its resources only.
WRITTEN_FOR = "dev"
ROLES = (
    "api",
    "coordinator",
    "starts",
    "sweep",
    "timeouts",
    "dead-signals",
    "dead-function-tasks",
    "dead-http-tasks",
    "dead-agent-tasks",
    "function-worker",
    "http-worker",
    "agent-worker",
)
#: Actions that AWS takes on no narrower resource than `*`, and why.
EVERYWHERE: Mapping[str, str] = {
    "ec2:AssignPrivateIpAddresses": "Lambda makes network interfaces whose ids nobody knows before",
    "ec2:CreateNetworkInterface": "Lambda makes network interfaces whose ids nobody knows before",
    "ec2:DeleteNetworkInterface": "Lambda makes network interfaces whose ids nobody knows before",
    "ec2:DescribeNetworkInterfaces": "EC2's describing actions know no resources",
    "ec2:DescribeSubnets": "EC2's describing actions know no resources",
    "ec2:UnassignPrivateIpAddresses": "Lambda makes network interfaces whose ids nobody knows before",
    "xray:PutTelemetryRecords": "X-Ray's writing actions know no resources",
    "xray:PutTraceSegments": "X-Ray's writing actions know no resources",
}
#: Actions on resources that AWS or others own, and why.
SHARED: Mapping[str, str] = {
    "bedrock:InvokeModel": "models belong to AWS and their makers; which one is asked is config"
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One action on one resource pattern, as a policy allows it."""

    action: str
    resource: str


def policy_path(stage: str, role: str, project: Path = ROOT) -> Path:
    """Where Chalice finds the policy of a role."""
    return project / ".chalice" / f"policy-{stage}-{role}.json"


def load(stage: str, role: str, project: Path = ROOT) -> Json:
    """The policy document of a role. Raises FileNotFoundError, ValueError."""
    return json.loads(policy_path(stage, role, project).read_text())


def for_stage(text: str, stage: str) -> str:
    """The text of a policy written for `dev`, for the resources of another stage."""
    return text.replace(f"graft-{WRITTEN_FOR}", f"graft-{stage}")


def write_stage(stage: str, project: Path = ROOT) -> list[Path]:
    """Write every role's policy for `stage`; returns the files. Those of `dev` stay as they are."""
    paths = [policy_path(stage, role, project) for role in ROLES]
    if stage != WRITTEN_FOR:
        for role, path in zip(ROLES, paths, strict=True):
            path.write_text(for_stage(policy_path(WRITTEN_FOR, role, project).read_text(), stage))
    return paths


def grants(policy: Json) -> Iterator[Grant]:
    """Every action on every resource pattern that the policy allows."""
    for statement in policy["Statement"]:
        for action in _many(statement["Action"]):
            for resource in _many(statement["Resource"]):
                yield Grant(action, resource)


def allows(policy: Json, action: str, resource: str) -> bool:
    """Whether some statement allows `action` on the resource of this ARN, conditions aside."""
    return any(g.action == action and fnmatchcase(resource, g.resource) for g in grants(policy))


def too_wide(policy: Json) -> list[str]:
    """A sentence per grant that is wider than it must be."""
    found = [f"{s.get('Sid')} is not a plain Allow" for s in policy["Statement"] if not _plain(s)]
    for grant in grants(policy):
        if "*" in grant.action:
            found.append(f"{grant.action} names no single action")
        if grant.resource == "*" and grant.action not in EVERYWHERE:
            found.append(f"{grant.action} is allowed on every resource")
        if grant.resource != "*" and "graft-" not in grant.resource and grant.action not in SHARED:
            found.append(f"{grant.action} is allowed on {grant.resource}, which is not this deployment's")
    return found


def _plain(statement: Json) -> bool:
    return statement.get("Effect") == "Allow" and not {"NotAction", "NotResource", "Principal"} & set(statement)


def _many(value: Json) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def main() -> None:
    """Write the policies of the stages named on the command line."""
    for stage in sys.argv[1:]:
        for path in write_stage(stage):
            print(path)


if __name__ == "__main__":
    main()
