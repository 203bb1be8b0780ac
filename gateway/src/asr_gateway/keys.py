"""The keys file: who may call, and within which limits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from asr_gateway.console import StartError, logger
from asr_gateway.errors import plain_message

CHECK_S = 1.0
"""The file is looked at so often, at a request."""
_OTHERS = 0o037
"""All but the owner's bits and the group's reading, as for asr-server's token file."""
SECRET_PREFIX = "whsec_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Key(BaseModel):
    """One caller. Limits that are None do not bound."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    """In the recognition log and the gateway's log."""
    sha256: str
    """Of the key itself, in hexadecimal digits."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    audio_s_per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    at_once: Annotated[int, Field(ge=1)] | None = None
    """Recognitions that may run at the same time."""
    expires_at: Annotated[datetime, Field(strict=False)] | None = None
    admin: bool = False
    """Sees and deletes what other keys did."""
    webhook_secret: Annotated[str | None, Field(repr=False)] = None
    """Signs the webhooks of the key's jobs: "whsec_" and base64 of 24 to 64 bytes."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a name has 1 to 64 letters, digits and . _ @ -")
        return name

    @field_validator("sha256")
    @classmethod
    def _check_sha256(cls, digest: str) -> str:
        if not re.fullmatch("[0-9a-fA-F]{64}", digest):
            raise ValueError("not the 64 hexadecimal digits of a SHA-256")
        return digest.lower()

    @field_validator("webhook_secret")
    @classmethod
    def _check_secret(cls, secret: str | None) -> str | None:
        if secret is not None:
            try:
                size = len(secret_bytes(secret))
            except ValueError:
                size = 0
            if not 24 <= size <= 64:
                raise ValueError("not whsec_ and base64 of 24 to 64 bytes")
        return secret

    @field_validator("expires_at")
    @classmethod
    def _check_zone(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("a time without a zone, such as 2027-01-31T00:00:00Z")
        return moment

    def expired(self, now: datetime) -> bool:
        """Whether the key is valid no more."""
        return self.expires_at is not None and now >= self.expires_at


def secret_bytes(secret: str) -> bytes:
    """What a `webhook_secret` stands for.

    Raises:
        ValueError: it is no such secret.
    """
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with {SECRET_PREFIX}")
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is base64") from None


NOBODY = Key(name="anonymous", sha256="0" * 64, admin=True)
"""The caller of a gateway without keys."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: list[Key]


class Keys:
    """The keys of a file, which is read again when it changes.

    Args:
        path: of the JSON file.

    Raises:
        StartError: the file is missing, open to others, or wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_digest, self._seen = _load(path)
        self._checked_s = time.monotonic()

    def find(self, key: str) -> Key | None:
        """Whose key it is; None for nobody's, or for one that has expired."""
        if time.monotonic() - self._checked_s >= CHECK_S:
            self.reload()
        found = self._by_digest.get(hashlib.sha256(key.encode()).hexdigest())
        if found is None or found.expired(datetime.now(timezone.utc)):
            return None
        return found

    def named(self, name: str) -> Key | None:
        """The key of that name as the file has it now, expired or not; None if it is gone."""
        if time.monotonic() - self._checked_s >= CHECK_S:
            self.reload()
        return next((key for key in self._by_digest.values() if key.name == name), None)

    def reload(self) -> None:
        """Read the file again if it changed; one that is wrong changes nothing, but is logged."""
        self._checked_s = time.monotonic()
        try:
            if _version(self._path.stat()) == self._seen:
                return
            self._by_digest, self._seen = _load(self._path)
        except (StartError, OSError) as error:
            logger.error("the keys stay as they were: %s", error)
            return
        logger.info("read %d keys from %s", len(self._by_digest), self._path)


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _load(path: Path) -> tuple[Mapping[str, Key], tuple[int, int, int]]:
    try:
        with path.open(encoding="utf-8") as file:
            # Of the file that is read: another one may have replaced it by now.
            status = os.fstat(file.fileno())
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"--keys {path}: {error}") from None
    if (mode := status.st_mode & 0o777) & _OTHERS:
        raise StartError(f"--keys {path}: open to others (mode {mode:04o}); chmod 0600")
    try:
        keys = _File.model_validate_json(text).keys
    except ValidationError as error:
        raise StartError(f"--keys {path}: {_first(error)}") from None
    for field in ("name", "sha256"):
        values = [getattr(key, field) for key in keys]
        if twice := {value for value in values if values.count(value) > 1}:
            raise StartError(f"--keys {path}: the {field} {min(twice)} is there twice")
    return {key.sha256: key for key in keys}, _version(status)


def _first(error: ValidationError) -> str:
    """The first complaint in one line, without the value, which may be a secret."""
    found: Any = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {plain_message(found)}" if where else plain_message(found)
