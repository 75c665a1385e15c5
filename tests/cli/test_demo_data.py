"""The server of the demo's data."""

import contextlib
import hashlib
import json
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from infra.cli.demo_data import DATA, FOLDER, listen, serving


@contextlib.contextmanager
def serve():
    with listen() as server, serving(server):
        yield f"127.0.0.1:{server.server_port}"


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def test_pages_hold_every_row_once_and_end_with_null():
    rows, page = [], 1
    with serve() as address:
        while page is not None:
            body = get(f"http://{address}/penguins?page={page}&size=100")
            rows += body["rows"]
            page = body["next"]
    assert len(rows) == 344
    assert rows[0] == {"species": "Adelie", "island": "Torgersen", "bill_length_mm": 39.1, "bill_depth_mm": 18.7,
                       "flipper_length_mm": 181, "body_mass_g": 3750, "sex": "male", "year": 2007}  # fmt: skip
    assert rows[3]["body_mass_g"] is None


@pytest.mark.parametrize(
    "path", ["/penguins?page=0", "/penguins?page=x", "/penguins?size=501", "/penguins?page=٣", "/x"]
)
def test_wrong_requests_are_refused(path):
    with serve() as address, pytest.raises(urllib.error.HTTPError) as caught:
        get(f"http://{address}{quote(path, safe='/?=&')}")
    assert caught.value.code in (400, 404)
    caught.value.close()


def test_the_data_is_the_file_that_its_source_names():
    assert hashlib.sha256(DATA.read_bytes()).hexdigest() in (FOLDER / "SOURCE.md").read_text()
