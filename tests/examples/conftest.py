"""One local stack with the real app for all examples."""

from types import SimpleNamespace

import pytest

from tests.e2e.conftest import start_stack  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def stack(start_stack):  # noqa: F811 - the fixture, by its name
    """Its API's address and token."""
    running = start_stack("--aws", "ministack")
    yield SimpleNamespace(url=running.ready["api_url"], token=running.ready["token"])
    assert running.stop() == 0
