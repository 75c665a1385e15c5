"""The deployment's settings for agents, and the pieces that are made of them."""

from __future__ import annotations

import json

import pytest

from chalicelib.config import Settings
from chalicelib.domain.errors import ConfigurationError
from chalicelib.workers.own_api import client_for

BASE = {"GRAFT_STAGE": "dev", "REDIS_URL": "redis://x", "GRAFT_SIGNING_SECRET": "s" * 32}


def settings(**more: str) -> Settings:
    return Settings.from_environment({**BASE, **more})


def test_without_any_setting_openai_is_asked_without_a_key_and_nothing_has_a_price():
    found = settings()
    assert (found.openai_base_url, found.openai_api_key) == ("https://api.openai.com/v1", "")
    assert found.model_prices == {}


def test_settings_are_read_and_the_key_is_in_no_text_of_them():
    prices = json.dumps({"openai/m": {"input": 2.5, "output": 10}})
    found = settings(
        GRAFT_OPENAI_BASE_URL="http://127.0.0.1:11434/v1/",
        GRAFT_OPENAI_API_KEY="sk-very-secret",
        GRAFT_BEDROCK_REGION="eu-central-1",
        GRAFT_BEDROCK_ACCESS_KEY_ID="AKID",
        GRAFT_BEDROCK_SECRET_ACCESS_KEY="very-secret-key",
        GRAFT_BEDROCK_SESSION_TOKEN="very-secret-token",
        GRAFT_MODEL_PRICES=prices,
    )
    assert found.openai_base_url == "http://127.0.0.1:11434/v1"
    assert found.bedrock_region == "eu-central-1"
    assert found.model_prices == {"openai/m": (2.5, 10.0)}
    assert found.bedrock_access_key_id == "AKID"
    assert (found.bedrock_secret_access_key, found.bedrock_session_token) == ("very-secret-key", "very-secret-token")
    assert "very-secret" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"m": 5}',
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 1}}',
        '{"m": {"input": true, "output": 1}}',
        '{"m": {"input": "1", "output": 1}}',
        '{"m": {"input": 1, "output": Infinity}}',
    ],
)
def test_wrong_prices_stop_the_process_and_are_named(text: str):
    with pytest.raises(ConfigurationError, match="GRAFT_MODEL_PRICES"):
        settings(GRAFT_MODEL_PRICES=text)


@pytest.mark.parametrize("url", ["", "no url", "ftp://x", "http://", "http://user:pass@host/"])
def test_a_base_url_that_is_none_is_refused_by_its_name(url: str):
    with pytest.raises(ConfigurationError):
        client_for(url)
