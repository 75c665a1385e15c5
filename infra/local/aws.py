"""Knows how each stand-in for AWS is started, and when it serves."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from chalicelib.domain.errors import ConfigurationError
from infra.local.children import Child, ChildSpec, spawn
from infra.local.ports import HOST

KINDS = ("ministack", "moto", "localstack")
ROOT = Path(__file__).resolve().parents[2]
#: Where `make setup` puts ministack, which pins a botocore of its own.
VENV = "GRAFT_AWS_VENV"


@dataclass(frozen=True, slots=True)
class StandIn:
    """One way to run AWS on loopback: command line, further environment, and the path that answers when it serves."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    health: str


def stand_in(kind: str, port: int, directory: Path) -> StandIn:
    """How to run `kind` on `port` with its files in `directory`. Raises ConfigurationError with the way out."""
    makers: dict[str, Callable[[int, Path], StandIn]] = {
        "ministack": _ministack,
        "moto": _moto,
        "localstack": _localstack,
    }
    if kind not in makers:
        raise ConfigurationError(f"--aws must be one of {', '.join(KINDS)}, not {kind!r}.")
    return makers[kind](port, directory)


def spec(kind: str, port: int, directory: Path, after_start: Callable[[], None] | None = None) -> ChildSpec:
    """The child that serves `kind` on loopback; its environment has no trace of the caller's AWS account."""
    chosen = stand_in(kind, port, directory)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LOCALSTACK_"))}
    env |= {"TMPDIR": str(directory), "AWS_EC2_METADATA_DISABLED": "true", **chosen.env}
    return ChildSpec("aws", env, chosen.argv, ready=lambda: answers(port, chosen.health), after_start=after_start)


def start(kind: str, port: int, directory: Path) -> Child:
    """Start `kind` on `port`; it serves once the child's `is_ready()` is true. Raises ConfigurationError."""
    return spawn(spec(kind, port, directory), directory / "aws.log", directory)


def answers(port: int, path: str) -> bool:
    """Whether GET `path` on loopback `port` is answered with 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}{path}", timeout=1.0) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _ministack(port: int, directory: Path) -> StandIn:
    python = Path(os.environ.get(VENV) or ROOT / ".venv-aws") / "bin" / "python"
    if not python.is_file():
        raise ConfigurationError(
            f"ministack is not installed: {python} is missing. Run `make setup`, name its virtual environment in "
            f"{VENV}, choose --aws moto, or set AWS_ENDPOINT_URL or LOCALSTACK_HOST to an AWS that is already there."
        )
    env = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "LOG_LEVEL": "WARNING",
        "STATE_DIR": str(directory / "state"),
        "S3_DATA_DIR": str(directory / "s3"),
        # Listeners and a Docker client that nothing here needs.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent",
        "USE_SSL": "0",
    }
    launcher = str(Path(__file__).with_name("ministack_main.py"))
    # -P: the launcher's folder would shadow modules of the same names.
    return StandIn((str(python), "-P", launcher), env, "/_ministack/health")


def _moto(port: int, _: Path) -> StandIn:
    if find_spec("moto") is None or find_spec("flask") is None:
        raise ConfigurationError("moto's server is not installed: run `make setup`.")
    return StandIn((sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)), {}, "/moto-api/data.json")


def _localstack(port: int, directory: Path) -> StandIn:
    own = ROOT / ".venv-localstack" / "bin" / "python"
    python = str(own) if own.is_file() else sys.executable
    if not own.is_file() and find_spec("localstack") is None:
        raise ConfigurationError(
            "LocalStack is not installed here. Start it yourself (for example `localstack start`) and set "
            "LOCALSTACK_HOST=localhost, install localstack-core into .venv-localstack, or use --aws ministack."
        )
    env = {"GATEWAY_LISTEN": f"{HOST}:{port}", "LOCALSTACK_VOLUME_DIR": str(directory), "DISABLE_EVENTS": "1"}
    return StandIn((python, "-m", "localstack.runtime.main"), env, "/_localstack/health")
