"""The command's flags that say who calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from asr_client._tls import TlsConfig

TOKEN_VARIABLE = "ASR_TOKEN"
_OTHERS = 0o077

TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"File with the server's token; {TOKEN_VARIABLE} may hold the token itself.",
        envvar="ASR_TOKEN_FILE",
    ),
]
Tls = Annotated[
    bool,
    typer.Option("--tls", help="Connect by TLS; the flags below imply it.", envvar="ASR_TLS"),
]
# Not the server's variables: its own certificate is no caller's.
TlsCa = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="PEM file with who signs the server's certificate, in place of public authorities.",
        envvar="ASR_CLIENT_TLS_CA",
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="PEM file with your certificate.", envvar="ASR_CLIENT_TLS_CERT"
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="PEM file with the private key to it.", envvar="ASR_CLIENT_TLS_KEY"
    ),
]


class Credentials(TypedDict):
    """Arguments of both clients."""

    token: str | None
    tls: TlsConfig | None


def credentials(
    token_file: Path | None,
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> Credentials:
    """What the flags and the environment name, read.

    Raises:
        ValueError: a file cannot be read, others have access to the token's, or certificate and
            key are not both given.
    """
    if token_file is not None:
        token: str | None = _read_token(token_file)
    else:
        token = os.environ.get(TOKEN_VARIABLE) or None
    files = {"tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
    if not tls and not any(files.values()):
        return {"token": token, "tls": None}
    if (tls_cert is None) != (tls_key is None):
        raise ValueError("--tls-cert and --tls-key go together")
    pem = {name: _read(name, path) if path else None for name, path in files.items()}
    config = TlsConfig(
        root_certificates=pem["tls_ca"],
        client_certificate=pem["tls_cert"],
        client_key=pem["tls_key"],
    )
    return {"token": token, "tls": config}


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"--{name.replace('_', '-')} {path}: {error.strerror}") from None


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read().decode(errors="replace").strip()
    except OSError as error:
        raise ValueError(f"--token-file {path}: {error.strerror}") from None
    # Windows has other ways to say who may read a file.
    if os.name == "posix" and mode & _OTHERS:
        raise ValueError(
            f"--token-file {path}: is open to others (mode {mode & 0o777:04o}); chmod 600 it"
        )
    if not token:
        raise ValueError(f"--token-file {path}: is empty")
    return token
