from __future__ import annotations

from chalicelib.api.endpoint import own_url


def test_a_deployment_without_a_public_url_links_to_where_the_request_came_in() -> None:
    assert own_url({"domainName": "x.execute-api.eu-west-1.amazonaws.com", "stage": "api"}) == (
        "https://x.execute-api.eu-west-1.amazonaws.com/api"
    )
    assert own_url({"stage": "api"}) == own_url({"domainName": "x"}) == own_url({}) == ""
