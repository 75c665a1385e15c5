"""An empty folder and environment for each command."""

import pytest

from infra.cli.main import main


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
