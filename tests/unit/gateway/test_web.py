"""The page and the API's description, without a browser (tests/conformance has one)."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

from asr_client.testing import FakeServer
from asr_gateway import web
from tests.support.gateway.running import RunningGateway, running

FOLDER = resources.files(web)
OWN = ("page.html", "page.css", "page.js", "docs.html", "docs.js")
PAGES = ("page.html", "docs.html")


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Names and attributes of a page's elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", sorted(web.PATHS))
def test_each_file_is_served_with_its_type_and_the_policy(gateway: RunningGateway, path: str):
    answer = gateway.http.get(path)
    asset = web.ASSETS[path]
    assert (answer.status_code, answer.content) == (200, asset.body)
    assert answer.headers["content-type"] == asset.media_type
    assert answer.headers["content-security-policy"] == web.POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = gateway.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(asset.body))


def test_a_browser_keeps_what_has_not_changed(gateway: RunningGateway):
    first = gateway.http.get("/web/page.js")
    assert first.headers["cache-control"] == "no-cache"
    again = gateway.http.get("/web/page.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = gateway.http.get("/web/page.js", headers={"if-none-match": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize("path", ["/web/", "/web/page.html", "/web/../keys", "/redoc"])
def test_there_are_no_other_files(gateway: RunningGateway, path: str):
    assert gateway.http.get(path).status_code == 404


def test_the_pages_need_no_key_and_what_they_call_does(server: FakeServer, tmp_path: Path):
    file = tmp_path / "keys.json"
    digest = hashlib.sha256(b"secret").hexdigest()
    file.write_text(json.dumps({"keys": [{"name": "alice", "sha256": digest}]}))
    file.chmod(0o600)
    with running(server.url, keys=str(file)) as gateway:
        assert {gateway.http.get(path).status_code for path in web.PATHS} == {200}
        assert gateway.http.get("/v1/models").status_code == 401


@pytest.mark.parametrize("name", OWN)
def test_no_file_names_another_host(name: str):
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text_of(name)) == []


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_hold_to_their_policy(name: str):
    for tag, attributes in Elements(text_of(name)).found:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert not [key for key in attributes if key == "style" or key.startswith("on")]
        linked = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        assert linked is None or linked in web.PATHS


def test_the_script_uses_elements_that_there_are():
    ids = {attributes.get("id") for _, attributes in Elements(text_of("page.html")).found}
    assert set(re.findall(r'byId\("([\w-]+)"\)', text_of("page.js"))) <= ids


def test_every_field_of_the_page_has_a_label():
    found = Elements(text_of("page.html")).found
    labelled = {attributes.get("for") for tag, attributes in found if tag == "label"}
    for tag, attributes in found:
        if tag in ("input", "select"):
            assert attributes["id"] in labelled


def test_the_wheel_has_the_files(tmp_path: Path):
    source = Path(__file__).parents[3] / "gateway"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    assert {f"asr_gateway/web/{name}" for name in (*OWN, "icon.svg")} <= set(packed)


def test_swagger_ui_is_one_that_reads_the_description(gateway: RunningGateway):
    version = gateway.http.get("/openapi.json").json()["openapi"]
    # Swagger UI 5 reads OpenAPI 3.1, 4 does not.
    assert version.startswith("3.1")
    script = web.ASSETS[f"/web/{web.SWAGGER_UI}"].body.decode()
    assert re.search(r'"5\.\d+\.\d+"', script)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def test_the_description_has_the_gateways_own_errors(gateway: RunningGateway):
    document = gateway.http.get("/openapi.json").json()
    assert document["components"]["schemas"].keys() == {"Error"}
    checker = jsonschema.Draft202012Validator(document["components"]["schemas"]["Error"])
    checker.validate(gateway.http.get("/v1/models/none").json())
    for path, operation in operations(document):
        assert "422" not in operation["responses"]
        assert "security" not in operation, "without keys"
        if path.startswith("/v1/"):
            errors = [answer for status, answer in operation["responses"].items() if status > "3"]
            assert all("Error" in json.dumps(answer["content"]) for answer in errors)
    # The pages describe no API.
    assert not {path for path, _ in operations(document)} & web.PATHS


def test_the_examples_are_what_the_gateway_answers(gateway: RunningGateway):
    document = gateway.http.get("/openapi.json").json()
    responses = document["paths"]["/v1/audio/transcriptions"]["post"]["responses"]
    described = responses["200"]["content"]
    schema = jsonschema.Draft202012Validator(described["application/json"]["schema"])
    examples = described["application/json"]["examples"]
    for format, more in (("json", {}), ("verbose_json", WORDS_AND_SEGMENTS)):
        answer = transcribe(gateway, response_format=format, **more).json()
        schema.validate(answer)
        schema.validate(examples[format]["value"])
        assert shape(examples[format]["value"]) == shape(answer)
    for format in ("text", "srt", "vtt"):
        kind = transcribe(gateway, response_format=format).headers["content-type"]
        assert kind.partition(";")[0] in described
    events = transcribe(gateway, stream="true")
    assert events.headers["content-type"].startswith("text/event-stream")
    example = described["text/event-stream"]["example"]
    assert set(re.findall("event: .*", events.text)) == set(re.findall("event: .*", example))


WORDS_AND_SEGMENTS = {"timestamp_granularities[]": ["word", "segment"]}


def transcribe(gateway: RunningGateway, **fields: Any) -> httpx2.Response:
    return gateway.http.post(
        "/v1/audio/transcriptions",
        files={"file": b"OggS"},
        data={"model": "whisper-1", **fields},
    )


def shape(value: Any) -> Any:
    """The keys of objects, those of the first entry of lists."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def test_with_keys_the_description_asks_for_one(server: FakeServer, tmp_path: Path):
    file = tmp_path / "keys.json"
    file.write_text('{"keys": []}')
    file.chmod(0o600)
    with running(server.url, keys=str(file)) as gateway:
        document = gateway.http.get("/openapi.json").json()
    (scheme,) = document["components"]["securitySchemes"]
    assert document["components"]["securitySchemes"][scheme]["scheme"] == "bearer"
    for path, operation in operations(document):
        assert ("security" in operation) == path.startswith("/v1/")
