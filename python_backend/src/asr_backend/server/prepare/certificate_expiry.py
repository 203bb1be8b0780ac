"""When a certificate expires, which `ssl` tells of verified certificates only."""

from __future__ import annotations

import re
import ssl
from datetime import datetime, timezone

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME = 0xA0, 0x17


def first_expiry(pem: str) -> float | None:
    """When the first of some certificates expires, Unix time in seconds.

    Args:
        pem: a PEM file's text; None is returned if it has no certificate.
    """
    blocks = _PEM.findall(pem)
    return min((_not_after(ssl.PEM_cert_to_DER_cert(block)) for block in blocks), default=None)


def _not_after(der: bytes) -> float:
    """`notAfter` of RFC 5280, 4.1: Certificate, TBSCertificate, validity, the second time."""
    _, at, _ = _element(der, 0)
    _, at, _ = _element(der, at)
    tag, _, end = _element(der, at)
    if tag == _VERSION:  # Version 1 has none.
        _, _, end = _element(der, end)
    for _ in ("signature", "issuer"):
        _, _, end = _element(der, end)
    _, at, _ = _element(der, end)
    _, _, end = _element(der, at)
    tag, at, end = _element(der, end)
    text = der[at:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin and end of the contents of the element at an offset."""
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[at + 2 : begin], "big")
    return tag, begin, begin + length
