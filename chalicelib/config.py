"""Every environment variable Graft reads, as one frozen Settings; missing or bad: the process refuses to start."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from chalicelib.domain.errors import ConfigurationError
from chalicelib.domain.limits import Limits
from chalicelib.domain.names import NAME_PATTERN

#: Logical names of the queues between Graft's own parts: no workflow may send to them.
OWN_QUEUES = frozenset({"completion-signals", "tasks-function", "tasks-http", "tasks-agent"})
_NAME = re.compile(NAME_PATTERN)

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Settings:
    """The deployment's settings. `from_environment` is the only place where the environment is read."""

    stage: str
    redis_url: str
    table: str
    bucket: str
    #: Physical queue name = prefix + logical name, e.g. graft-dev-completion-signals.
    queue_prefix: str
    #: HMAC key of tokens, callbacks and job ids; or the ARN of a Secrets Manager secret that holds it.
    signing_secret: str = ""
    signing_secret_arn: str = ""
    #: What links and callback URLs start with, without a trailing slash, e.g. https://x.execute-api…/api.
    public_url: str = ""
    redis_cluster: bool = False
    #: Where AWS calls go instead of AWS: an endpoint URL, or a LocalStack host through localstack-client.
    aws_endpoint_url: str = ""
    localstack_host: str = ""
    #: CIDRs or host:port that http nodes may reach although private.
    http_allowlist: tuple[str, ...] = ()
    #: Lambda function names or ARNs that function nodes may invoke.
    lambda_allowlist: tuple[str, ...] = ()
    #: Queues of the users' own workers: logical name -> URL, "" for the queue that is named prefix + name.
    queue_allowlist: Mapping[str, str] = field(default_factory=dict)
    #: Where `${secret.NAME}` is read: `secretsmanager` or `ssm`, or "" for nowhere; and what stands before
    #: `<tenant>/NAME` there.
    secrets_backend: str = ""
    secrets_prefix: str = ""
    #: EventBridge Scheduler: role that may send to the queues, and the schedule group.
    scheduler_role_arn: str = ""
    scheduler_group: str = "default"
    #: Milliseconds between two passes of the sweep, which looks at one slice of the live runs each time.
    sweep_ms: int = 60_000
    #: Milliseconds after its end at which a run's keys leave Redis; its journal stays.
    grace_ms: int = 3_600_000
    #: True where the queue mappings report partial batch failures (FunctionResponseTypes).
    partial_batches: bool = False
    limits: Limits = field(default_factory=Limits)
    #: Where agents reach models: an OpenAI-compatible endpoint, its key or the secret (ARN or name) that holds it.
    openai_base_url: str = OPENAI_URL
    openai_api_key: str = field(default="", repr=False)
    openai_api_key_secret: str = ""
    #: Empty: the process's own region, and AWS's own address.
    bedrock_region: str = ""
    bedrock_endpoint_url: str = ""
    #: Credentials for Bedrock alone, where the process's own are for a stand-in; empty: the process's own.
    bedrock_access_key_id: str = ""
    bedrock_secret_access_key: str = field(default="", repr=False)
    bedrock_session_token: str = field(default="", repr=False)
    #: `provider/model` or model -> USD per million tokens (read, written).
    model_prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read GRAFT_* (and REDIS_URL, AWS_ENDPOINT_URL, LOCALSTACK_HOST). Raises ConfigurationError naming all."""
        env = os.environ if environ is None else environ
        stage = env.get("GRAFT_STAGE", "")
        required = {"GRAFT_STAGE": stage, "REDIS_URL": env.get("REDIS_URL", "")}
        if not env.get("GRAFT_SIGNING_SECRET") and not env.get("GRAFT_SIGNING_SECRET_ARN"):
            required["GRAFT_SIGNING_SECRET or GRAFT_SIGNING_SECRET_ARN"] = ""
        missing = sorted(name for name, value in required.items() if not value)
        if missing:
            raise ConfigurationError(f"Set these environment variables: {', '.join(missing)}.")
        backend, prefix = _secrets(env.get("GRAFT_SECRETS", ""), stage)
        return cls(
            stage=stage,
            redis_url=env["REDIS_URL"],
            redis_cluster=_flag(env, "GRAFT_REDIS_CLUSTER"),
            table=env.get("GRAFT_TABLE", f"graft-{stage}"),
            bucket=env.get("GRAFT_BUCKET", f"graft-{stage}-artifacts"),
            queue_prefix=env.get("GRAFT_QUEUE_PREFIX", f"graft-{stage}-"),
            signing_secret=env.get("GRAFT_SIGNING_SECRET", ""),
            signing_secret_arn=env.get("GRAFT_SIGNING_SECRET_ARN", ""),
            public_url=env.get("GRAFT_PUBLIC_URL", "").rstrip("/"),
            aws_endpoint_url=env.get("AWS_ENDPOINT_URL", ""),
            localstack_host=env.get("LOCALSTACK_HOST", ""),
            http_allowlist=_words(env, "GRAFT_HTTP_ALLOWLIST"),
            lambda_allowlist=_words(env, "GRAFT_LAMBDA_ALLOWLIST"),
            queue_allowlist=_queues(
                _words(env, "GRAFT_QUEUE_ALLOWLIST"), env.get("GRAFT_QUEUE_PREFIX", f"graft-{stage}-")
            ),
            secrets_backend=backend,
            secrets_prefix=prefix,
            scheduler_role_arn=env.get("GRAFT_SCHEDULER_ROLE_ARN", ""),
            scheduler_group=env.get("GRAFT_SCHEDULER_GROUP", "default"),
            sweep_ms=_number(env, "GRAFT_SWEEP_MS", 60_000),
            grace_ms=_number(env, "GRAFT_GRACE_MS", 3_600_000),
            partial_batches=_flag(env, "GRAFT_PARTIAL_BATCHES"),
            limits=_limits(env.get("GRAFT_LIMITS", "")),
            openai_base_url=(env.get("GRAFT_OPENAI_BASE_URL") or OPENAI_URL).rstrip("/"),
            openai_api_key=env.get("GRAFT_OPENAI_API_KEY", ""),
            openai_api_key_secret=env.get("GRAFT_OPENAI_API_KEY_SECRET", ""),
            bedrock_region=env.get("GRAFT_BEDROCK_REGION", ""),
            bedrock_endpoint_url=env.get("GRAFT_BEDROCK_ENDPOINT_URL", ""),
            bedrock_access_key_id=env.get("GRAFT_BEDROCK_ACCESS_KEY_ID", ""),
            bedrock_secret_access_key=env.get("GRAFT_BEDROCK_SECRET_ACCESS_KEY", ""),
            bedrock_session_token=env.get("GRAFT_BEDROCK_SESSION_TOKEN", ""),
            model_prices=_prices(env.get("GRAFT_MODEL_PRICES", "")),
        )


def queue_name(logical: str) -> str:
    """A queue's physical name. Read when the app is imported, also by `chalice package`, which sets only the stage's
    environment_variables of .chalice/config.json; without a GRAFT_STAGE the stage is `dev`."""
    stage = os.environ.get("GRAFT_STAGE") or "dev"
    return os.environ.get("GRAFT_QUEUE_PREFIX", f"graft-{stage}-") + logical


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "0").lower()
    if value not in ("0", "1", "false", "true", ""):
        raise ConfigurationError(f"{name} must be 0 or 1, not {value!r}.")
    return value in ("1", "true")


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if text and (not text.isdecimal() or int(text) < 1):
        raise ConfigurationError(f"{name} must be a whole number of at least 1, not {text!r}.")
    return int(text or default)


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())


def _queues(words: tuple[str, ...], prefix: str) -> dict[str, str]:
    """GRAFT_QUEUE_ALLOWLIST is a list of `name` and `name=url`."""
    found: dict[str, str] = {}
    for word in words:
        name, given, url = word.partition("=")
        named = url.rpartition("/")[2].removeprefix(prefix) if given else name
        if not _NAME.fullmatch(name) or {name.removesuffix("-dlq"), named.removesuffix("-dlq")} & OWN_QUEUES:
            raise ConfigurationError(
                f"GRAFT_QUEUE_ALLOWLIST cannot name {name!r}: choose a name that is not Graft's own."
            )
        if given and not re.match(r"https?://[^/]", url):
            raise ConfigurationError(f"GRAFT_QUEUE_ALLOWLIST has {word!r}: write name=https://… with the queue's URL.")
        if (url or name).endswith(".fifo"):
            raise ConfigurationError(
                f"GRAFT_QUEUE_ALLOWLIST has {word!r}: a FIFO queue takes no tasks, use a standard one."
            )
        if name in found:
            raise ConfigurationError(f"GRAFT_QUEUE_ALLOWLIST names {name!r} twice.")
        found[name] = url
    return found


def _secrets(text: str, stage: str) -> tuple[str, str]:
    """GRAFT_SECRETS is `secretsmanager` (the default), `ssm` or `none`, then maybe `:` and a prefix."""
    backend, _, prefix = (text or "secretsmanager").partition(":")
    if backend == "none" and not prefix:
        return "", ""
    if backend not in ("secretsmanager", "ssm"):
        raise ConfigurationError(f"GRAFT_SECRETS begins with secretsmanager, ssm or none, not {backend!r}.")
    prefix = prefix or ("/" if backend == "ssm" else "") + f"graft-{stage}/"
    if not prefix.endswith("/") or (backend == "ssm" and not prefix.startswith("/")):
        form = "/path/" if backend == "ssm" else "path/"
        raise ConfigurationError(f"The prefix of GRAFT_SECRETS is written {form}, not {prefix!r}.")
    return backend, prefix


def _limits(text: str) -> Limits:
    """GRAFT_LIMITS is a JSON object of SPEC 17 names to whole numbers."""
    if not text:
        return Limits()
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"GRAFT_LIMITS is not JSON: {error}.") from None
    names = {item.name for item in fields(Limits)}
    bad = [k for k, v in values.items() if k not in names or not isinstance(v, int) or isinstance(v, bool) or v < 1]
    if bad:
        raise ConfigurationError(f"GRAFT_LIMITS has unknown names or values below 1: {', '.join(map(str, bad))}.")
    return Limits(**values)


def _prices(text: str) -> dict[str, tuple[float, float]]:
    """GRAFT_MODEL_PRICES is a JSON object of models to `{"input", "output"}`, USD per million tokens."""
    if not text:
        return {}
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"GRAFT_MODEL_PRICES is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise ConfigurationError("GRAFT_MODEL_PRICES is not a JSON object of models to prices.")
    return {model: _price(model, price) for model, price in values.items()}


def _price(model: str, price: object) -> tuple[float, float]:
    found = [price.get(name) for name in ("input", "output")] if isinstance(price, dict) else []
    numbers = [float(one) for one in found if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) != 2 or not all(0 <= one < float("inf") for one in numbers):
        text = f'the price of {model!r} must be {{"input": USD, "output": USD}} per million tokens'
        raise ConfigurationError(f"GRAFT_MODEL_PRICES: {text}.")
    return numbers[0], numbers[1]
