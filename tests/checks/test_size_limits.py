"""The gate on file lengths can fail."""

from __future__ import annotations

import pytest

from infra.checks.size_limits import EXCEPTIONS, findings


@pytest.fixture
def tree(tmp_path):
    def write(name, lines):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n" * lines)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("chalicelib/domain/a.py", 200),
        ("chalicelib/engine/a.py", 300),
        ("chalicelib/adapters/redis/lua/a.lua", 120),
        ("infra/local/a.py", 300),
    ],
)
def test_a_file_over_its_limit_is_named(tree, name, limit):
    assert list(findings(tree(name, limit), {})) == []
    assert [name in sentence for sentence in findings(tree(name, limit + 1), {})] == [True]


def test_an_exception_holds_only_as_long_as_it_is_needed(tree):
    root = tree("infra/long.py", 400)
    assert list(findings(root, {"infra/long.py": 400})) == []
    assert len(list(findings(root, {"infra/long.py": 399}))) == 1
    assert len(list(findings(root, {"infra/long.py": 401}))) == 1
    assert len(list(findings(root, {"infra/long.py": 400, "infra/gone.py": 400}))) == 1


def test_no_file_has_an_exception():
    assert EXCEPTIONS == {}
