"""Plans survive JSON without loss."""

import json
from dataclasses import replace

import pytest

from chalicelib.domain.errors import InvalidInput
from chalicelib.domain.ir import Join, Retry, Template
from chalicelib.domain.plan_codec import decode, encode
from tests.domain.documents import ORDER_TRIAGE, compiled, node, workflow
from tests.domain.test_compiler_any_json import LOOPED


@pytest.mark.parametrize("document", [ORDER_TRIAGE, LOOPED, workflow(["a"]), workflow([node("a", config={})])])
def test_a_decoded_plan_is_equal_and_encodes_to_the_same_text(document):
    plan = compiled(document)
    text = encode(plan)
    assert decode(text) == plan
    assert encode(decode(text)) == text
    assert repr(decode(text)) == repr(plan)


def test_fields_that_no_default_covers_survive():
    plan = compiled(LOOPED)
    changed = replace(
        plan.nodes["a"],
        retry=Retry(3, 5, 1.5, 9, "full", (), ("X", "Y")),
        join=Join(2, True, ("b",)),
        config=Template({"other": [1, 1.0, True, None]}),
        heartbeat_ms=7,
        check_before_start=True,
        counted=True,
    )
    plan = replace(plan, nodes={**plan.nodes, "a": changed}, warnings=({"code": "x", "path": "", "message": "y"},))
    assert repr(decode(encode(plan))) == repr(plan)


def test_the_document_keeps_the_order_of_its_keys():
    plan = decode(encode(compiled({"nodes": [{"type": "pass", "id": "a"}], "name": "x"})))
    assert json.dumps(plan.document) == '{"nodes": [{"type": "pass", "id": "a"}], "name": "x"}'


@pytest.mark.parametrize(
    "text", ["", "7", "{}", '{"nodes": [], "document": {}}', '{"nodes":[{}],"document":{"nodes":[]}}']
)
def test_text_that_is_no_plan_is_refused(text):
    with pytest.raises(InvalidInput):
        decode(text)
