from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from types import ModuleType

import pytest

import asr_client
import asr_client.testing
from asr_client import AsyncClient, Client

PROBE = """
import json, sys, threading
before = threading.active_count()
import asr_client
asr_client.Client("localhost:1"), asr_client.AsyncClient("localhost:1")
print(json.dumps({"modules": sorted(sys.modules), "threads": threading.active_count() - before}))
"""


@pytest.mark.parametrize("module", [asr_client, asr_client.testing])
def test_all_is_the_public_names(module: ModuleType) -> None:
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(module.__all__) == public
    assert module.__all__ == sorted(module.__all__)


def test_both_clients_have_the_same_methods_and_signatures() -> None:
    def methods(kind: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(value)
            for name, value in inspect.getmembers(kind, callable)
            if not name.startswith("_") or name == "__init__"
        }

    assert methods(Client) == methods(AsyncClient)
    assert {"transcribe", "is_ready", "wait_until_ready", "status", "close"} < set(methods(Client))


def test_both_clients_document_the_same_arguments() -> None:
    assert Client.transcribe.__doc__ == AsyncClient.transcribe.__doc__


def test_every_option_of_transcribe_is_documented() -> None:
    documented = inspect.getdoc(Client.transcribe) or ""
    for name in inspect.signature(Client.transcribe).parameters:
        assert name == "self" or f"    {name}: " in documented


def test_the_types_of_arguments_can_be_imported() -> None:
    kinds = (Client, AsyncClient, asr_client.TlsConfig, asr_client.Recording)
    annotations = {
        str(parameter.annotation)
        for kind in kinds
        for _, method in inspect.getmembers(kind, inspect.isfunction)
        if not method.__name__.startswith("_") or method.__name__ == "__init__"
        for parameter in inspect.signature(method).parameters.values()
    }
    named = set(re.findall(r"[A-Z]\w+", " ".join(annotations)))
    of_others = {"None", "Sequence", "TracebackType"}
    # What `transcribe_many` takes and gives are the standard library's generics.
    generics = {"Items", "ItemT"}
    assert named - of_others - generics <= set(asr_client.__all__)
    assert {"Timestamps", "Decoder", "OnAttempt", "Pem"} <= named


def test_importing_and_constructing_is_light() -> None:
    output = subprocess.run(
        [sys.executable, "-c", PROBE], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    seen = json.loads(output)
    heavy = {"torch", "transformers", "typer", "rich", "av", "asr_backend", "tritonclient.http"}
    assert heavy.isdisjoint(seen["modules"])
    assert seen["threads"] == 0
