"""The archive of code has all that the app needs, for the right processor, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from infra.deploy import ROOT
from infra.deploy.archive import MAX_UNPACKED, check, missing_pins, sizes
from infra.deploy.package import architecture, copy_sources, package

#: The first bytes of a compiled file for arm64, and for x86-64.
ARM64 = b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little")
X86_64 = b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little")
GOOD = {
    "app.py": b"app",
    "chalicelib/lua/commit.lua": b"return 1",
    "redis-8.1.0.dist-info/METADATA": b"",
    "chalice/app.py": b"",
    "redis/fast.cpython-311-aarch64-linux-gnu.so": ARM64,
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project of one module, one Lua file and two requirements."""
    lua = tmp_path / "chalicelib" / "lua" / "commit.lua"
    lua.parent.mkdir(parents=True)
    lua.write_text("return 1")
    cache = tmp_path / "chalicelib" / "__pycache__" / "a.pyc"
    cache.parent.mkdir()
    cache.write_text("")
    (tmp_path / "app.py").write_text("app")
    (tmp_path / "requirements.txt").write_text("# pins\nchalice==1.34.0\nRedis[hiredis]==8.1.0\n")
    return tmp_path


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "deployment.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


def test_an_archive_that_has_everything_has_no_fault(small: Path):
    assert check(archive(small, GOOD), small, "arm64") == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"redis-8.1.0.dist-info/METADATA": None}, "Redis==8.1.0 is missing"),
        ({"redis-8.1.0.dist-info/METADATA": None, "redis-8.0.0.dist-info/METADATA": b""}, "Redis==8.1.0 is missing"),
        ({"chalice/app.py": None}, "chalice==1.34.0 is missing"),
        ({"chalicelib/lua/commit.lua": None}, "chalicelib/lua/commit.lua is missing"),
        ({"tests/test_a.py": b""}, "tests/test_a.py does not belong in it"),
        ({"infra/deploy/package.py": b""}, "infra/deploy/package.py does not belong in it"),
        ({"redis/slow.so.1": X86_64}, "redis/slow.so.1 is not for arm64"),
    ],
)
def test_each_fault_of_an_archive_is_named(small: Path, change: dict[str, bytes | None], fault: str):
    files = {name: content for name, content in {**GOOD, **change}.items() if content is not None}
    assert check(archive(small, files), small, "arm64") == [fault]


def test_an_archive_that_unpacks_too_large_is_refused(small: Path):
    path = archive(small, {**GOOD, "redis/zeros": bytes(MAX_UNPACKED)})
    [fault] = check(path, small, "arm64")
    assert fault.startswith("unpacked it takes")
    assert sizes(path)[0].name == "redis"


def test_requirements_without_a_pin_are_not_asked_for():
    assert missing_pins("-r other.txt\nredis>=8\n\n# jsonpatch==1\n", []) == []


@pytest.mark.stack
def test_the_packaged_app_has_every_requirement_for_its_processor_and_is_small_enough(tmp_path: Path):
    project = copy_sources(ROOT, tmp_path / "project")
    made = package("dev", tmp_path / "out", project)
    assert architecture(project, "dev") == "arm64"
    assert check(made.archive, project, "arm64") == []
    names = set(zipfile.ZipFile(made.archive).namelist())
    lua = [name for name in names if name.startswith("chalicelib/") and name.endswith(".lua")]
    assert len(lua) == len(list((project / "chalicelib").rglob("*.lua"))) > 0
    assert not [name for name in names if name.startswith("chalicelib/") and "__pycache__" in name]
