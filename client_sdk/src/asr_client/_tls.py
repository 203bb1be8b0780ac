"""TLS as a caller describes it."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

Pem: TypeAlias = "str | os.PathLike[str] | bytes"
"""A path, or the text of a PEM file as bytes."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TlsConfig:
    """Encrypted connections; with the caller's own certificate, mutual TLS.

    Certificates and keys are paths of PEM files or, as bytes, their contents. Files are read when
    a client is made. The key is in no repr.
    """

    root_certificates: Pem | None = None
    """Who signs the server's certificate; None trusts the public authorities that gRPC knows."""
    client_certificate: Pem | None = None
    """The caller's certificate, then those between it and its authority."""
    client_key: Pem | None = None
    """The private key to it, without a password."""
    server_name_override: str | None = None
    """The name to expect in the server's certificate when it is not the address's; for tests."""

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key go together")
        for name in _FILES:
            value = getattr(self, name)
            # An error about the file of that name would show a key.
            if isinstance(value, str) and "\n" in value:
                raise ValueError(f"{name} is a path or bytes; the text of a PEM file goes as bytes")

    def __repr__(self) -> str:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = (f"{name}={_shown(name, value)}" for name, value in given.items() if value)
        return f"TlsConfig({', '.join(shown)})"


_FILES = {
    "root_certificates": b"CERTIFICATE-----",
    "client_certificate": b"CERTIFICATE-----",
    "client_key": b"PRIVATE KEY-----",
}


def read_pem(tls: TlsConfig) -> dict[str, bytes | None]:
    """The contents of the PEM files.

    Raises:
        ValueError: one is not in PEM.
        OSError: a file cannot be read.
    """
    return {name: _read(tls, name) for name in _FILES}


def _read(tls: TlsConfig, name: str) -> bytes | None:
    value = getattr(tls, name)
    if value is None:
        return None
    pem = value if isinstance(value, bytes) else Path(value).read_bytes()
    if b"-----BEGIN " not in pem or _FILES[name] not in pem:
        raise ValueError(f"{name} is not in PEM, or is not a {_FILES[name].strip(b'-').decode()}")
    return pem


def _shown(name: str, value: object) -> str:
    if name == "client_key":
        return "..."
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else repr(value)
