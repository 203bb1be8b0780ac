"""TLS settings of a caller."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

Pem: TypeAlias = "str | os.PathLike[str] | bytes"
"""A path, or the text of a PEM file as bytes."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TlsConfig:
    """Encrypted connections; mutual TLS when the caller has a certificate.

    Certificates and keys are paths of PEM files or, as bytes, their contents. The client reads
    the files when it is made. No repr shows the key.
    """

    root_certificates: Pem | None = None
    """The authorities for the server's certificate; None means the public ones that gRPC knows."""
    client_certificate: Pem | None = None
    """The caller's certificate, followed by its intermediate certificates."""
    client_key: Pem | None = None
    """The private key of the certificate, without a password."""
    server_name_override: str | None = None
    """The name in the server's certificate when it is not the one of the address; for tests."""

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key go together")
        for name in _FILES:
            value = getattr(self, name)
            # The error about a missing file would show the key as its name.
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
