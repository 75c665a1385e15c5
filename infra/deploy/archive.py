"""Checks the archive of code that Lambda gets: what is in it, for which processor, and how large it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

#: Bytes. Lambda refuses 50 MB; the rest is room for what is still to come.
MAX_ZIPPED = 45_000_000
#: Bytes; Lambda's limit of the unpacked code is 250 MB.
MAX_UNPACKED = 200_000_000
#: What must never be deployed, by first part of the path.
KEPT_OUT = frozenset({"infra", "tests", "template.yaml", ".chalice", "examples", "docs"})
#: ELF's e_machine of each of Lambda's architectures.
MACHINES = {"arm64": 183, "x86_64": 62}
#: Chalice puts two files of itself into the archive instead of its whole distribution.
_ROUTER = "chalice/app.py"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;#]+)")
_DISTRIBUTION = re.compile(r"^([^/]+)-([^-/]+)\.dist-info/METADATA$")


@dataclass(frozen=True, slots=True)
class Size:
    """What one top-level part of the archive takes, in bytes."""

    name: str
    zipped: int
    unpacked: int


def check(archive: Path, project: Path, architecture: str) -> list[str]:
    """A sentence per fault of the archive made from `project` for `architecture` (`arm64` or `x86_64`)."""
    with ZipFile(archive) as opened:
        names = set(opened.namelist())
        faults = [f"{pin} is missing" for pin in missing_pins((project / "requirements.txt").read_text(), names)]
        faults += [f"{path} is missing" for path in _own_files(project) if path not in names]
        faults += [f"{name} does not belong in it" for name in sorted(names) if name.split("/")[0] in KEPT_OUT]
        faults += [f"{name} is not for {architecture}" for name in _foreign(opened, MACHINES[architecture])]
    zipped, unpacked = archive.stat().st_size, sum(size.unpacked for size in sizes(archive))
    if zipped > MAX_ZIPPED:
        faults.append(f"it takes {zipped} bytes; at most {MAX_ZIPPED} are allowed")
    if unpacked > MAX_UNPACKED:
        faults.append(f"unpacked it takes {unpacked} bytes; at most {MAX_UNPACKED} are allowed")
    return faults


def missing_pins(requirements: str, names: Iterable[str]) -> list[str]:
    """The pinned requirements that are not among an archive's files in just that version."""
    names = set(names)
    there = {(_plain(m[1]), m[2]) for m in map(_DISTRIBUTION.match, names) if m}
    missing = []
    for line in requirements.splitlines():
        pin = _PIN.match(line.strip())
        if pin and (_plain(pin[1]), pin[2]) not in there and not (_plain(pin[1]) == "chalice" and _ROUTER in names):
            missing.append(f"{pin[1]}=={pin[2]}")
    return missing


def sizes(archive: Path) -> list[Size]:
    """The archive's top-level parts, the largest first."""
    zipped: Counter[str] = Counter()
    unpacked: Counter[str] = Counter()
    with ZipFile(archive) as opened:
        for info in opened.infolist():
            name = info.filename.split("/")[0]
            zipped[name] += info.compress_size
            unpacked[name] += info.file_size
    return [Size(name, count, unpacked[name]) for name, count in zipped.most_common()]


def _own_files(project: Path) -> Iterator[str]:
    """The app's own code and data, as the archive names them."""
    yield "app.py"
    for path in sorted((project / "chalicelib").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(project).as_posix()


def _foreign(opened: ZipFile, machine: int) -> Iterator[str]:
    """Compiled files for another processor; they would fail on import only."""
    for name in opened.namelist():
        if ".so" not in name.rpartition("/")[2]:
            continue
        with opened.open(name) as file:
            head = file.read(20)
        if head[:4] == b"\x7fELF" and int.from_bytes(head[18:20], "little") != machine:
            yield name


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
