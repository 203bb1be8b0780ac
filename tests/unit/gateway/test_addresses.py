from __future__ import annotations

import pytest

from asr_gateway import addresses
from asr_gateway.errors import ApiError
from tests.support.gateway.running import RunningGateway


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080", "a.localhost:1"],
)
def test_names_of_this_machine_are_served(host: str):
    addresses.check({"host": host})
    addresses.check({"host": host, "origin": f"http://{host}"})


@pytest.mark.parametrize(
    "host",
    ["", "example.org", "localhost.example.org", "10.0.0.1:8080", "[2001:db8::1]", "127.0.0.1.nip"],
)
def test_other_names_are_refused(host: str):
    with pytest.raises(ApiError) as refused:
        addresses.check({"host": host})
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.org",
        "null",
        "http://[",
        "",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
    ],
)
def test_other_origins_are_refused(origin: str):
    with pytest.raises(ApiError) as refused:
        addresses.check({"host": "localhost:8080", "origin": origin})
    assert refused.value.status == 403


@pytest.mark.parametrize("path", ["/livez", "/v1/models", "/nowhere"])
def test_every_path_refuses_foreign_requests(gateway: RunningGateway, path: str):
    answer = gateway.http.get(path, headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "foreign_site"
    assert gateway.http.get(path, headers={"origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_addresses(host: str, loopback: bool):
    assert addresses.is_loopback(host) == loopback
