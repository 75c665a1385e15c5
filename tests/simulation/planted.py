"""Bugs to plant in a copy of the engine, each of which the simulation must find; a bug is a replacement in one file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.simulation import check

ROOT = Path(__file__).parents[2]
LUA = "chalicelib/adapters/redis/lua"
#: First seed, and how far it is to the next.
ROUGH, CONTROLLED, RACING = (check.ROUGH, 4), (check.CONTROLLED, 8), (0, check.RACING_EVERY)
#: Racing worlds that read variables while others set them: few do.
RACING_LATER = (420, check.RACING_EVERY)
#: Worlds of all node types, without and with every fault.
MIXED, MIXED_ROUGH = (check.MIXED[0], 16), (check.MIXED[2], 16)
MAPPED = (check.MIXED[0], 16)
#: Worlds of all node types: racing ones.
MIXED_RACING, MIXED_ROUGH_RACING = (6, 48), (21, 48)


@dataclass(frozen=True)
class Bug:
    """`old`, which stands exactly once in `file`, becomes `new`. `worlds` says in which it is hunted."""

    name: str
    file: str
    old: str
    new: str
    worlds: tuple[int, int] = (0, 1)

    def plant(self, root: Path) -> None:
        """Write it into the copy at `root`. Raises ValueError where the engine has changed under it."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.file}, not once")
        path.write_text(text.replace(self.old, self.new))


BUGS = (
    Bug("a join counts an edge twice", f"{LUA}/includes/joins.lua",
        "if redis.call('HSETNX', KEYS.ed, instance .. '|' .. edge, how .. ':' .. no) == 0 then return nil end",
        "redis.call('HSET', KEYS.ed, instance .. '|' .. edge, how .. ':' .. no)"),
    Bug("a join forgets that it fired", f"{LUA}/includes/joins.lua",
        "if verdict then state = verdict .. ':' .. no end", "if verdict == 'skip' then state = 'skip:' .. no end"),
    Bug("a settled token stays outstanding", f"{LUA}/commit.lua",
        "out = out - redis.call('HDEL', tok, token)\n  redis.call('HDEL', ready, token)\n  redis.call('HSET', done",
        "out = out - 1\n  redis.call('HDEL', ready, token)\n  redis.call('HSET', done"),
    Bug("a cancelled token is not counted off", f"{LUA}/commit.lua",
        "local function cancel(token)\n  close(token, 'CANCELLED')",
        "local function cancel(token)\n  close(token, 'CANCELLED')\n  out = out + 1"),
    Bug("nothing ends the run", f"{LUA}/commit.lua", "local over = out == 0 and not c.final", "local over = out < 0"),
    Bug("a skip is not passed on", "chalicelib/domain/routing.py",
        "            self._edge(self._plan.edges[key], 0, token.scope, ended)\n", "            pass\n"),
    Bug("an inner loop goes on counting", "chalicelib/domain/routing.py",
        "return here + tuple((loop, 1) for loop in back.loops[depth:])",
        "return here + tuple((loop, token.iteration + 1) for loop in back.loops[depth:])"),
    Bug("tokens name the innermost loop alone", "chalicelib/domain/ids.py",
        'for node, count in scope)\n', 'for node, count in scope[-1:])\n'),
    Bug("fail_fast cancels nothing", "chalicelib/domain/failing.py",
        'draft.cancel_all = plan.on_failure != "finish_branches"', "draft.cancel_all = False"),
    Bug("joins wait in vain for what a failure cancelled", f"{LUA}/includes/cancelling.lua",
        "then beat(token)", "then cancel(token)", RACING),
    Bug("a join runs that was reached before the failure alone", f"{LUA}/includes/joins.lua",
        "if verdict == 'fire' and not reached(instance) then verdict = 'skip' end", "", RACING),
    Bug("a retry has the attempt's own number", "chalicelib/domain/failing.py",
        "attempt=token.attempt + 1)", "attempt=token.attempt)"),
    Bug("a failure that may not be retried is retried", "chalicelib/domain/retry.py",
        ' or error.get("retryable") is False', ""),
    Bug("what a dead step left unsent stays unsent", "chalicelib/engine/repeats.py",
        "found.append((name, state[\"tok\"][name]))", "pass"),
    Bug("what a dead step's later commits left unsent stays unsent", "chalicelib/engine/repeats.py",
        "pending += [settled] if settled not in seen else []", "pass"),
    Bug("tokens count as sent though sending failed", "chalicelib/engine/effects.py",
        "self._sent(run) if sent else []", "self._sent(run)"),
    Bug("messages leave before the journal is written", "chalicelib/engine/effects.py",
        "        written = self._journal(services, failed)\n        sent = self._send(services, failed)\n",
        "        sent = self._send(services, failed)\n        written = self._journal(services, failed)\n"),
    Bug("a task sees outcomes later than its commit", f"{LUA}/read.lua",
        "tonumber(string.match(record, '^%d+')) <= as_of", "true"),
    Bug("a task sees variables later than its commit", f"{LUA}/read.lua",
        "while record and tonumber(string.match(record, '^%d+')) > as_of do", "while false do", RACING_LATER),
    Bug("a step writes its own commits alone", "chalicelib/engine/flush.py",
        "if not pending.lease or numbers != list(range(pending.mark + 1, last + 1)):", "if False:"),
    Bug("what is left to undo is forgotten", "chalicelib/domain/compensation.py",
        "_undo(plan, left) if left else", "_undo(plan, left[1:]) if left[1:] else"),
    Bug("undos run in the order of completion", "chalicelib/domain/compensation.py",
        "key=lambda entry: -entry[2])", "key=lambda entry: entry[2])"),
    Bug("losers run on", f"{LUA}/commit.lua", "if arrival[8] then", "if false then"),
    Bug("a map begins all its items at once", "chalicelib/domain/map_items.py",
        'first = min(data["window"], data["items"])', 'first = data["items"]', MAPPED),
    Bug("a map waits for all its items although too many have failed", f"{LUA}/includes/maps.lua",
        "failed > tonumber(most) or done + failed >= items", "done + failed >= items", MAPPED),
    Bug("items outlive their map", "chalicelib/domain/decide.py",
        'draft.cancel_within = f"{token.instance}["', "pass", MAPPED),
    Bug("a map takes the first item's template for all", "chalicelib/engine/loading.py",
        '"item": self._pages.item(self._listed[key], token.index)', '"item": self._pages.item(self._listed[key], 0)',
        MAPPED),
    Bug("what the store alone knows is not written before a rebuild", "chalicelib/engine/rebuild.py",
        '            _write_tail(services, run_id, stored["meta"])\n', "            pass\n", ROUGH),
    Bug("a rebuild is installed although the run moved on", f"{LUA}/install.lua",
        "if position ~= ARGV.replaces then return {'EXISTS'} end", "", ROUGH),
    Bug("the sweep sends nothing", "chalicelib/engine/supervise.py",
        "    send_waiting(services, run_id, now - UNSENT_MS if stored else now)\n", "    pass\n", ROUGH),
    Bug("ended runs are never let go", "chalicelib/engine/supervise.py",
        ">= grace_ms:", "< 0:", ROUGH),
    Bug("a dead letter is forgotten untried", "chalicelib/engine/dead_letters.py",
        "        failed = settle([arrived.body])\n", "        failed = set()\n", ROUGH),
    Bug("a generation does not fence", f"{LUA}/commit.lua", "if m.gen ~= c.gen or", "if", CONTROLLED),
    Bug("what a pause held counts from before its end", f"{LUA}/includes/pauses.lua",
        "if tonumber(no) >= since then", "if false then", CONTROLLED),
    Bug("a repeat sends what a pause holds", "chalicelib/engine/repeats.py",
        'if status == "PAUSED":', 'if status == "never":', CONTROLLED),
    Bug("a patch is planned on nothing", f"{LUA}/commit.lua", " or changed(control.expect) then", " then", CONTROLLED),
    Bug("a control action is answered before it is journaled", "chalicelib/engine/outside.py",
        "    if refused:\n", "    if False:\n", CONTROLLED),
    Bug("a parent is not told of its child's end", "chalicelib/engine/flush.py",
        "    tell_parents(services, [item for item in items if item not in refused])\n", "", MIXED),
    Bug("a call has one child for all its attempts", "chalicelib/domain/children.py",
        "{job.token}\\0{job.no}\\0{job.commit}", "{job.token.rsplit('.')[0]}", MIXED),
    Bug("a child's output is lost", "chalicelib/domain/children.py",
        "return Outcome(output, ref, metadata=metadata)", "return Outcome(None, ref, metadata=metadata)", MIXED),
    Bug("what a child used does not count", "chalicelib/domain/children.py",
        "return Outcome(output, ref, metadata=metadata)", "return Outcome(output, ref)", MIXED),
    Bug("a child that nobody waits for goes on", "chalicelib/engine/children.py",
        "        cancel_run(services, child, f\"run:{job.run_id}\")\n", "        pass\n", MIXED_ROUGH),
    Bug("nobody sends what has stopped at a breakpoint", "chalicelib/engine/controls.py",
        "(*at_breakpoints(state), *unsent,", "(*unsent,", CONTROLLED),
    Bug("a node begins at its breakpoint without a stop", "chalicelib/engine/step.py",
        "        works = stop_before(self._services, works, step.effects, step.failed)\n", "", CONTROLLED),
    Bug("an agent repeats what another delivery finished", "chalicelib/workers/agent/checkpoints.py",
        "return None if there is None else self._get(name)", "return None", MIXED),
    Bug("a call has a key of its own in each process", "chalicelib/workers/agent/calls.py",
        'key = f"{self.log.digest}-{turn}-{number}"', 'key = f"{self.log.digest}{self.log.made}-{turn}-{number}"',
        MIXED),
    Bug("what an agent tells counts each time", "chalicelib/engine/progress.py",
        'return (("tok", token.text, record), self.untold(token))', 'return (("tok", token.text, record),)', MIXED),
    Bug("an agent's credential outlives its attempt", "chalicelib/engine/patches.py",
        "    if token is None:\n        return ()", '    if token not in state["tok"]:\n        return ()',
        MIXED),
    Bug("the newest event is taken first", "chalicelib/domain/mail.py",
        'and "|" not in key[len(prefix) :])', 'and "|" not in key[len(prefix) :])[::-1]', MIXED_ROUGH),
    Bug("two events at once get one number", "chalicelib/engine/run_events.py",
        'expect = (("box", counter, state["box"].get(counter, "")),)', "expect = ()", MIXED_RACING),
    Bug("a decision is refused for what the store alone knows", "chalicelib/engine/approvals.py",
        'if holds(services, decision.run_id, state["meta"]):', "if True:", MIXED_ROUGH),
    Bug("a timeout passes over what came in time", "chalicelib/engine/looking.py",
        "    if _child_ended(services, work, job) if node.type == CALL else",
        "    if _child_ended(services, work, job) if node.type == CALL else not work.timeout and", MIXED_ROUGH_RACING),
)  # fmt: skip


def hunt(bug: Bug, folder: Path, seeds: int) -> subprocess.CompletedProcess[str]:
    """Simulate `seeds` worlds on a copy of the engine with the bug in it; exit code 1 means found."""
    shutil.copytree(ROOT / "chalicelib", folder / "chalicelib", ignore=shutil.ignore_patterns("__pycache__"))
    bug.plant(folder)
    first, step = bug.worlds
    command = [sys.executable, "-m", "tests.simulation.check", str(first), str(seeds), str(step)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
