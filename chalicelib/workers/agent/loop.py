"""The loop of one attempt: ask the model, run its calls, give the results back, until it answers or a limit is met."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.task import HandOn, Task
from chalicelib.workers.agent.asking import RESERVE_S, Patience
from chalicelib.workers.agent.calls import MAX_CALLS, Caller, Done
from chalicelib.workers.agent.checkpoints import Checkpoints
from chalicelib.workers.agent.model import Message, Provider, Question, ToolSpec, Turn, readable
from chalicelib.workers.agent.prices import Purse, exceeded
from chalicelib.workers.agent.tool_specs import problems_of

Json = Any
#: Seconds of the process's life under which no further turn is begun in it.
MARGIN_S = 60.0
#: Characters of a model's text that an event carries.
MAX_TEXT = 1000
#: Tool calls that the completion's metadata lists.
MAX_LISTED = 100


@dataclass(slots=True)
class Loop:
    """One attempt. What it has come to so far can be read from it whenever it ends."""

    task: Task
    provider: Provider
    patience: Patience
    caller: Caller
    log: Checkpoints
    purse: Purse
    specs: Sequence[ToolSpec]
    system: str
    messages: list[Message]
    turns: list[Turn] = field(default_factory=list)
    called: list[dict[str, Json]] = field(default_factory=list)
    repaired: bool = False

    def run(self, model: str, max_turns: int, schema: Json) -> Json:
        """The node's output. Raises TaskError, HandOn, Unavailable."""
        for number in range(1, max_turns + 1):
            turn = self._turn(Question(model, self.system, tuple(self.messages), self.specs, number))
            self.turns.append(turn)
            self.purse.pay(turn)
            self.task.tell(f"turn-{number}", [self._event(number, turn)])
            self.messages.append(Message("assistant", turn.text, turn.calls))
            self.purse.check()
            if turn.calls:
                self._call(number, turn)
                continue
            problems, output = _output(turn.text, schema)
            if not problems:
                return output
            self._ask_for_repair(problems)
        raise exceeded(f"it has had {max_turns} turns without an answer, /config/max_turns")

    def metadata(self) -> dict[str, Json]:
        """What the signal says beside the result."""
        return {**self.purse.as_metadata(), "turns": len(self.turns), "tool_calls": self.called[:MAX_LISTED]}

    def _turn(self, question: Question) -> Turn:
        name = f"turn-{question.number:04d}"
        recorded = self.log.find(name)
        if recorded is None:
            # Of each process at least one turn is had, so that even a short one gets on.
            if self.log.made and self.task.time_left_s() < MARGIN_S:
                raise HandOn
            if self.task.time_left_s() <= RESERVE_S:
                text = f"the agent worker's function lives too short: it needs a timeout well over {RESERVE_S:g} s"
                raise TaskError("TaskFailed", text, retryable=False)
            self.log.past_the_end()
            recorded = self.log.begin(name, {"key": f"{self.log.digest}-{question.number}"})
        if recorded is None:
            turn = readable(self.patience.ask(self.provider, question), self.task.config["provider"])
            recorded = self.log.once(name, self.task.vault.redact_json(turn.as_json()))
        return Turn.from_json(recorded)

    def _call(self, number: int, turn: Turn) -> None:
        done = self.caller.run(number, turn.calls)
        self.task.tell(f"calls-{number}", [one.as_event(number) for one in done[:MAX_CALLS]])
        self.called += [self._listed(number, one) for one in done]
        self.messages.append(self.caller.message(done))

    def _listed(self, number: int, done: Done) -> dict[str, Json]:
        return {"turn": number, "tool": done.call.name, "ok": done.record["ok"]}

    def _event(self, number: int, turn: Turn) -> dict[str, Json]:
        data = {
            "turn": number,
            "tokens": turn.tokens,
            "calls": [call.name for call in turn.calls],
            "text": self.task.vault.redact(turn.text)[:MAX_TEXT],
        }
        return {"type": "agent_turn", "data": {**data, **self.purse.as_metadata()}}

    def _ask_for_repair(self, problems: list[dict[str, str]]) -> None:
        """Once; the second answer that breaks the schema fails the node."""
        listed = json.dumps(problems, ensure_ascii=False)
        if self.repaired:
            raise TaskError("OutputInvalid", f"The model's answer breaks /config/output_schema, twice: {listed}")
        self.repaired = True
        text = (
            f"Your answer breaks the JSON Schema of the output: {listed}. Answer again, with the corrected value only."
        )
        self.messages.append(Message("user", text))


def _output(text: str, schema: Json) -> tuple[list[dict[str, str]], Json]:
    """(problems, output): the text itself, or the JSON value that a schema asks for."""
    if schema is None:
        return [], text
    try:
        value = json.loads(_unfenced(text))
    except (ValueError, RecursionError):
        return [{"path": "", "message": "The answer is not one JSON value."}], None
    return problems_of(schema, value), value


def _unfenced(text: str) -> str:
    """Without the code fence that models like to put around JSON."""
    lines = text.strip().splitlines()
    if len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        return "\n".join(lines[1:-1])
    return text
