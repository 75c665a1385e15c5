"""What models cost, from the deployment's price table; and what an agent may spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.workers.agent.model import Turn

Json = Any
#: `provider/model`, or the model's name alone -> USD per million tokens (read, written).
Prices = Mapping[str, tuple[float, float]]


@dataclass(slots=True)
class Purse:
    """What an attempt has used, and may use. `usd` stays None for a model whose price is not known."""

    price: tuple[float, float] | None
    most_tokens: int | None
    most_usd: float | None
    tokens: int = 0
    usd: float = 0.0

    def pay(self, turn: Turn) -> None:
        """Count a turn."""
        self.tokens += turn.tokens
        if self.price is not None:
            self.usd += (turn.input_tokens * self.price[0] + turn.output_tokens * self.price[1]) / 1e6

    def check(self) -> None:
        """Raises TaskError `BudgetExceeded`, not retryable, past a limit."""
        if self.most_tokens is not None and self.tokens > self.most_tokens:
            raise exceeded(f"{self.tokens} tokens were used, /config/budget/tokens is {self.most_tokens}")
        if self.most_usd is not None and self.usd > self.most_usd:
            raise exceeded(f"{self.usd:.6f} USD were used, /config/budget/usd is {self.most_usd:g}")

    def as_metadata(self) -> dict[str, Json]:
        """What the completion's metadata says of it."""
        usd = {} if self.price is None else {"usd": round(self.usd, 9)}
        return {"tokens_used": self.tokens, **usd}


def open_purse(config: dict[str, Json], prices: Prices) -> Purse:
    """The purse of a node. Raises TaskError, not retryable, for a budget in USD where the price is not known."""
    provider, model = config["provider"], config.get("model") or ""
    price = prices.get(f"{provider}/{model}", prices.get(model))
    budget = config.get("budget") or {}
    if price is None and provider == "scripted":
        price = (0.0, 0.0)
    if price is None and budget.get("usd") is not None:
        text = f"/config/budget/usd cannot be kept: GRAFT_MODEL_PRICES has no price of {provider}/{model}"
        raise TaskError("TaskFailed", text, retryable=False)
    return Purse(price, budget.get("tokens"), budget.get("usd"))


def exceeded(what: str) -> TaskError:
    """The error of an agent past one of its limits."""
    return TaskError("BudgetExceeded", f"The agent is past its budget: {what}.", retryable=False)
