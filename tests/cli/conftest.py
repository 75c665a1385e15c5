"""An empty folder and environment for each command."""

import pytest

from infra.cli.main import main
from tests.cli.server import ask, problem, serving


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No state file, no GRAFT_ variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("GRAFT_URL", "GRAFT_TOKEN", "GRAFT_SIGNING_SECRET", "GRAFT_LAMBDA_ALLOWLIST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def graft(capsys):
    """Runs the command line in this process: (exit code, standard output, standard error)."""

    def call(*argv):
        code = main([str(word) for word in argv])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def scripted(graft):
    """Makes what runs `graft GROUP …` on a server with these answers: (exit code, output, what it was asked)."""

    def make(group, answers):
        def answer(method, path, query, body):
            found = answers.get((method, path))
            return problem(404, "There is nothing here.") if found is None else (200, found)

        def call(*words):
            with serving(answer) as server:
                code, out, err = ask(graft, server, group, *words)
            return code, out + err, server.asked

        return call

    return make
