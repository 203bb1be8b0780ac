"""Certificates and the token, read and checked before Triton gets them.

Triton silently treats an unreadable certificate file as an empty one.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from asr_backend.server.errors import StartError
from asr_backend.server.prepare.addresses import is_loopback
from asr_backend.server.prepare.certificate_expiry import first_expiry
from asr_backend.server.settings import Settings

TOKEN_KEY = "authorization"
"""Triton puts `triton-grpc-protocol-` before it, and over HTTP nothing."""

# All but the owner's bits and the group's reading: a Kubernetes Secret belongs to root and to the
# pod's group, with mode 0440.
_OTHERS = 0o037
# Characters that both a gRPC header and Triton's argument can carry.
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Certificates, as absolute paths of PEM files.

    Attributes:
        certificate: the server's, with the intermediate ones up to its authority.
        key: its private key.
        client_ca: the authorities that sign callers' certificates; None requires none.
        expires: when the first certificate of `certificate` expires, Unix time in seconds; None if
            it is not known.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    expires: float | None = None


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may call.

    Attributes:
        tls: None for connections in plain text.
        token: required in every call except health checks; "" for none. It is in no repr.
    """

    tls: Tls | None = None
    token: str = field(default="", repr=False)


def read_access(settings: Settings) -> Access:
    """Reads the certificates and the token that the settings name.

    Raises:
        StartError: for files that are missing, invalid or do not match, and for a token that is
            malformed or that others can read.
    """
    return Access(
        tls=_read_tls(settings),
        token=_read_token(settings.token_file) if settings.token_file else "",
    )


def warnings(settings: Settings, access: Access) -> list[str]:
    """Warnings for the operator, one line each."""
    lines = []
    if access.tls and (mode := access.tls.key.stat().st_mode) & _OTHERS:
        lines.append(
            f"--tls-key {access.tls.key} is open to others (mode {mode & 0o777:04o}); chmod 600 it"
        )
    if access.token and not access.tls and not is_loopback(settings.host):
        lines.append(
            f"without --tls-cert the token travels to {settings.host} in plain text, where others "
            "can read it; add --tls-cert and --tls-key"
        )
    return lines


def client_flags(settings: Settings) -> str:
    """The flags that the command `asr` needs for this server, as text to show."""
    flags = " --tls-ca FILE" if settings.tls_cert else ""
    if settings.tls_ca:
        flags += " --tls-cert FILE --tls-key FILE"
    return flags + (f" --token-file {settings.token_file}" if settings.token_file else "")


def _read_token(path: str) -> str:
    named = f"--token-file {path}"
    try:
        # The mode of the opened file: the path may point elsewhere a moment later.
        with Path(path).expanduser().open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1 << 16).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise StartError(f"{named}: {error.strerror}") from None
    if mode & _OTHERS:
        raise StartError(
            f"{named}: is open to others (mode {mode & 0o777:04o}); chmod 600 it, or 640 to let a "
            "group read it"
        )
    if not text:
        raise StartError(f"{named}: is empty")
    if not _TOKEN.fullmatch(text):
        raise StartError(
            f"{named}: is not one line of at most 4096 visible ASCII characters without spaces"
        )
    return text


def _read_tls(settings: Settings) -> Tls | None:
    given = [name for name in ("tls_cert", "tls_key", "tls_ca") if getattr(settings, name)]
    if not given:
        return None
    if not settings.tls_cert or not settings.tls_key:
        raise StartError("TLS needs both --tls-cert and --tls-key")
    if settings.http_port:
        raise StartError(
            f"--http-port {settings.http_port}: Triton's HTTP has no TLS, so it would bypass "
            "--tls-cert; leave one of them out"
        )
    paths = {name: Path(getattr(settings, name)).expanduser().absolute() for name in given}
    for name, path in paths.items():
        try:
            path.read_bytes()
        except OSError as error:
            raise StartError(f"{_flag(name)} {path}: {error.strerror}") from None
    tls = Tls(
        certificate=paths["tls_cert"],
        key=paths["tls_key"],
        client_ca=paths.get("tls_ca"),
        expires=first_expiry(paths["tls_cert"].read_text(encoding="ascii", errors="replace")),
    )
    for name in ("tls_cert", "tls_ca"):
        if name in paths:
            _check_certificates(name, paths[name])
    _check_pair(tls)
    return tls


def _check_certificates(name: str, path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise StartError(f"{_flag(name)} {path}: has no certificate in PEM format") from None


def _check_pair(tls: Tls) -> None:
    try:
        # An empty password keeps OpenSSL from prompting on the terminal; Triton could not prompt.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            tls.certificate, tls.key, password=""
        )
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            words = f"does not belong to --tls-cert {tls.certificate}"
        elif error.reason:  # such as EE_KEY_TOO_SMALL
            words = f"is refused ({error.reason.replace('_', ' ').lower()})"
        else:
            words = "has no private key in PEM that needs no password"
        raise StartError(f"--tls-key {tls.key}: {words}") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
