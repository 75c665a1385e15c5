"""Makes one-time wake-ups beyond SQS's 15 minutes with EventBridge Scheduler."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClient, answering, error_code
from chalicelib.domain.errors import ConfigurationError
from chalicelib.engine.ports import Outgoing

_NAME = re.compile(r"[0-9a-zA-Z_.-]{1,64}")


class EventBridgeSchedules:
    """Schedules whose target is a queue. `queue_arn` gives the ARN of a logical queue name."""

    def __init__(
        self, client: AwsClient, queue_arn: Callable[[str], str], role_arn: str, group: str = "default"
    ) -> None:
        self._client = client
        self._queue_arn = queue_arn
        self._role_arn = role_arn
        self._group = group

    def once(self, name: str, at_ms: int, message: Outgoing) -> None:
        """Send `message` at `at_ms` (plus its delay), to the next full second; AWS fires within a minute of it.

        The same name again keeps the first. Raises Unavailable, and ConfigurationError without a role.
        """
        if not self._role_arn:
            raise ConfigurationError("Set GRAFT_SCHEDULER_ROLE_ARN: waits over 15 minutes need a role that may send.")
        second = -(-at_ms // 1000) + message.delay_s
        at = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        try:
            with answering("scheduler.CreateSchedule"):
                self._client.create_schedule(
                    Name=_legal(name),
                    GroupName=self._group,
                    ScheduleExpression=f"at({at})",
                    ScheduleExpressionTimezone="UTC",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target={"Arn": self._queue_arn(message.queue), "RoleArn": self._role_arn, "Input": message.body},
                )
        except ClientError as error:
            if error_code(error) != "ConflictException":
                raise


def _legal(name: str) -> str:
    """Names that AWS does not take are replaced by their hash, which is as unique."""
    return name if _NAME.fullmatch(name) else hashlib.sha256(name.encode("utf-8")).hexdigest()
