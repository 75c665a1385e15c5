"""The demo's person and its choice of a model, without a stack."""

import json

import pytest

from infra.cli import demo_story
from infra.cli.client import Api
from infra.cli.demo_data import WORKFLOW
from infra.cli.demo_models import AGENT, Real, cast
from infra.cli.demo_story import Approver, tell
from infra.cli.documents import read_document
from infra.cli.errors import CliError
from tests.cli.server import serving

ASKED = {"type": "node_waiting", "node_id": "publish", "data": {"message": "May it?"}}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDDEMO", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "session"}


def approve(answer, *events):
    """What was said and asked while these events came in."""
    said = []
    with serving(answer) as server:
        Approver(Api(server.url, "t"), "r1", think_s=0).look(events, said.append)
        return said, [(method, path, body) for method, path, _, body, _ in server.asked]


def test_a_question_is_shown_with_the_command_and_approved():
    others = [{"type": "node_waiting", "node_id": "w", "data": {}}, {"type": "node_completed", "node_id": "w"}]
    said, asked = approve(lambda *_: (200, {"approved": True, "decided": True}), *others, ASKED)
    assert said == ["publish asks: May it?", "A person would type: graft approvals approve r1 publish"]
    body = {"approved": True, "comment": demo_story.COMMENT}
    assert asked == [("POST", "/api/v1/runs/r1/nodes/publish/decision", body)]


def test_a_question_that_somebody_else_has_answered_is_left_alone():
    assert len(approve(lambda *_: (409, {"detail": "It is decided."}), ASKED)[1]) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, {"detail": "Only ann may decide."}), "cannot approve publish: Only ann may decide"),
        ((200, {"approved": True, "decided": False}), "publish needs more people"),
    ],
)
def test_a_question_that_one_person_cannot_answer_ends_the_demo(answer, words):
    with pytest.raises(CliError, match=words):
        approve(lambda *_: answer, ASKED)


def test_a_finding_of_any_shape_and_a_failed_run_are_told(capsys, tmp_path):
    run = {"run_id": "r1", "status": "COMPLETED", "nodes": {"x": {"type": "transform"}}}
    overall = {"penguins": 2, "heaviest": [{"body_mass_g": 9, "species": "Gentoo"}]}
    output = {"verdict": "Yes.", "percent": 99.0, "species": [], "islands": [], "overall": overall}
    patch = {"author": "node:analyst", "added": ["x", "gone"], "description": "a reason"}
    with serving(lambda *_: (200, {"items": [patch]})) as server:
        api = Api(server.url, "t")
        tell(api, {**run, "output": {**output, "finding": "seals"}}, tmp_path / "p.svg")
        tell(api, {**run, "output": {**output, "finding": {"rows": [{"a": 1}, {"b": 2.25}]}}}, tmp_path / "p.svg")
        tell(api, {**run, "output": {"other": "patched away"}}, tmp_path / "p.svg")
        tell(api, {**run, "status": "FAILED", "error": {"type": "Rejected", "message": "no"}}, tmp_path / "p.svg")
    said = capsys.readouterr().out
    assert "Added by node:analyst while the run went on: x (transform), gone" in said
    assert 'finding: "seals"' in said and "2.2" in said
    assert "patched away" in said and "FAILED: Rejected: no" in said


def test_without_a_flag_the_script_plays():
    document, player = read_document(str(WORKFLOW)), cast(None, None, {})
    assert player.plays(document) is document
    assert (player.settings, "offline" in player.sentence()) == ({}, True)


@pytest.mark.parametrize("real", list(Real))
def test_a_real_model_changes_the_agents_provider_model_and_turns_alone(monkeypatch, real):
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    document = read_document(str(WORKFLOW))
    before = json.dumps(document)
    played = cast(real, "m-1", {"OPENAI_API_KEY": "k"}).plays(document)
    assert json.dumps(document) == before
    old, new = ({node["id"]: node for node in one["nodes"]} for one in (document, played))
    config, turned = old.pop(AGENT)["config"], new.pop(AGENT)["config"]
    assert old == new
    assert (turned["provider"], turned["model"]) == (real.value, "m-1")
    differs = {name for name in {*config, *turned} if config.get(name) != turned.get(name)}
    assert differs == {"provider", "model", "turns"}


def test_the_stack_gets_the_callers_credentials(monkeypatch):
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    assert cast(Real.OPENAI, None, {"OPENAI_API_KEY": "k"}).settings == {"GRAFT_OPENAI_API_KEY": "k"}
    assert cast(Real.BEDROCK, None, {}).settings == {
        "GRAFT_BEDROCK_REGION": "eu-west-1",
        "GRAFT_BEDROCK_ENDPOINT_URL": "https://bedrock-runtime.eu-west-1.amazonaws.com",
        "GRAFT_BEDROCK_ACCESS_KEY_ID": "AKIDDEMO",
        "GRAFT_BEDROCK_SECRET_ACCESS_KEY": "secret",
        "GRAFT_BEDROCK_SESSION_TOKEN": "session",
    }


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--real", "openai"], "OPENAI_API_KEY"),
        (["--real", "bedrock"], "AWS_ACCESS_KEY_ID"),
        (["--model", "m-1"], "--real"),
    ],
)
def test_a_demo_without_the_credential_is_refused_before_anything_starts(graft, monkeypatch, nowhere, argv, words):
    for name in (*KEYS, "OPENAI_API_KEY", "GRAFT_OPENAI_API_KEY", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(nowhere / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    code, out, err = graft("demo", *argv)
    assert (code, out, words in err) == (2, "", True)


def test_bedrock_without_a_region_is_refused(graft, monkeypatch, nowhere):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "GRAFT_BEDROCK_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "none"))
    code, _, err = graft("demo", "--real", "bedrock")
    assert (code, "GRAFT_BEDROCK_REGION" in err) == (2, True)
