"""Starts and stops child processes so that none outlives the process that started it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

#: The descriptor on which a child says that it is ready, if it was given one.
READY_FD = "GRAFT_LOCAL_READY_FD"
#: prctl(2)'s PR_SET_PDEATHSIG: the signal a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run: a program (`argv`), or `main` in a fork of this process, which has loaded what it needs already.

    `ready` is asked until true; without it the child itself says so with `say_ready`.
    """

    name: str
    env: Mapping[str, str]
    argv: Sequence[str] = ()
    main: Callable[[], None] | None = None
    ready: Callable[[], bool] | None = None
    #: What has to be done after each start, once ready: the stand-in for AWS comes back empty.
    after_start: Callable[[], None] | None = None


class Process(Protocol):
    """The part of Popen that children are looked after with."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        ...


class Forked:
    """A fork of this process, as a Process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("fork", timeout or 0.0)
            time.sleep(0.005)
        return code


@dataclass(slots=True)
class Child:
    """One running child; `log` has its stdout and stderr."""

    spec: ChildSpec
    process: Process
    log: Path
    ready_fd: int = -1
    started: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def is_ready(self) -> bool:
        """Whether it serves by now; looks, without waiting."""
        if self.spec.ready is not None:
            return self.spec.ready()
        if self.ready_fd >= 0 and select.select([self.ready_fd], [], [], 0)[0]:
            said = os.read(self.ready_fd, 1)
            self.close()
            return bool(said)
        return False

    def close(self) -> None:
        """Close the descriptor on which readiness is awaited."""
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1

    def signal(self, number: int) -> None:
        """Send a signal to the child's whole process group; harmless when it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def spawn(spec: ChildSpec, log: Path, cwd: Path) -> Child:
    """Start `spec` in a session of its own, its output appended to `log`."""
    receiving, sending = os.pipe()
    try:
        env = {**spec.env, READY_FD: str(sending)}
        with log.open("ab") as output:
            begin = _execute if spec.main is None else _fork
            return Child(spec, begin(spec, env, output.fileno(), cwd, sending), log, receiving)
    except BaseException:
        os.close(receiving)
        raise
    finally:
        os.close(sending)


def _execute(spec: ChildSpec, env: Mapping[str, str], output: int, cwd: Path, kept: int) -> Process:
    return subprocess.Popen(
        list(spec.argv),
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(kept,),
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - the starting process has one thread
    )


def _fork(spec: ChildSpec, env: Mapping[str, str], output: int, cwd: Path, _: int) -> Process:
    """Fork this process, which must have one thread; the child never returns from here."""
    assert spec.main is not None
    bind = _die_with(os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Forked(pid)
    code = 1
    try:
        os.setsid()
        bind()
        _become(env, output, cwd)
        spec.main()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(env: Mapping[str, str], output: int, cwd: Path) -> None:
    """Take on a child's signals, descriptors, environment and folder."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)


def stop(children: Sequence[Child], grace_s: float = 3.0) -> None:
    """End all: SIGTERM to each, and SIGKILL to what is there after `grace_s` seconds."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
        child.signal(signal.SIGKILL)
        child.process.wait()
        child.close()


def say_ready() -> None:
    """Called by a child once it serves; does nothing when nobody asked."""
    number = os.environ.pop(READY_FD, "")
    if number:
        os.write(int(number), b"1")
        os.close(int(number))


def _die_with(parent: int) -> Callable[[], None]:
    """For the child to call first: be killed when the starting process dies, however it dies (Linux only)."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind
