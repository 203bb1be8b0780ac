"""Who calls: with a keys file the key decides, without one the address."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers

from asr_gateway import addresses, web
from asr_gateway.errors import ApiError
from asr_gateway.keys import NOBODY, Key, Keys
from asr_gateway.limits import Limits
from asr_gateway.settings import Settings

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json"}) | web.PATHS
"""Paths that need no key."""


def load_keys(settings: Settings) -> Keys | None:
    """The keys of `--keys`; None without it.

    Raises:
        StartError: the keys file is missing or wrong.
    """
    return Keys(Path(settings.keys)) if settings.keys else None


def admission(
    keys: Keys | None, limits: Limits, allowed: Collection[str] = ()
) -> Callable[[str, Headers, dict[str, Any]], None]:
    """What `FrontDoor` asks about each request; puts a `Key` into the state as `caller`.

    Args:
        keys: None lets every local caller in.
        limits: counts the requests.
        allowed: origins of other sites whose pages may call without a key.
    """
    if keys is None:

        def admit_anybody(path: str, headers: Headers, state: dict[str, Any]) -> None:
            addresses.check(headers, allowed)
            state["caller"] = NOBODY

        return admit_anybody

    def admit_by_key(path: str, headers: Headers, state: dict[str, Any]) -> None:
        if path in OPEN_PATHS:
            return
        state["caller"] = caller = _identify(keys, headers.get("authorization", ""))
        limits.request(caller)

    return admit_by_key


def _identify(keys: Keys, authorization: str) -> Key:
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ApiError(
            401,
            "The header Authorization is missing: 'Authorization: Bearer KEY'.",
            code="missing_api_key",
        )
    found = keys.find(key.strip())
    if found is None:
        raise ApiError(401, "The API key is wrong or has expired.", code="invalid_api_key")
    return found
