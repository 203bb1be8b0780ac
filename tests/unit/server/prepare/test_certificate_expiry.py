"""The expiry, beside what the package cryptography reads."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
import trustme
from cryptography import x509

from asr_backend.server.prepare.certificate_expiry import first_expiry
from asr_backend.server.prepare.credentials import read_access
from asr_backend.server.settings import Settings


@pytest.mark.parametrize("year", [2027, 2049, 2050, 2115])
def test_it_is_what_cryptography_reads(year):
    expires = datetime(year, 3, 1, 12, 30, 5, tzinfo=timezone.utc)
    pem = trustme.CA().issue_cert("asr.test", not_after=expires).cert_chain_pems[0].bytes()
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc == expires
    assert first_expiry(pem.decode()) == expires.timestamp()


def test_the_first_of_a_chain_counts():
    authority = trustme.CA()
    soon = datetime(2027, 1, 1, tzinfo=timezone.utc)
    texts = [
        authority.issue_cert("asr.test", not_after=soon.replace(year=year))
        .cert_chain_pems[0]
        .bytes()
        .decode()
        for year in (2028, 2027, 2029)
    ]
    assert first_expiry("a comment\n" + "\n".join(texts)) == soon.timestamp()


def test_no_certificate_has_none():
    assert first_expiry("-----BEGIN NOTHING-----") is None


def test_the_settings_name_it(tmp_path):
    expires = datetime(2031, 1, 1, tzinfo=timezone.utc)
    issued = trustme.CA().issue_cert("asr.test", not_after=expires)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    issued.private_key_pem.write_to_path(tmp_path / "server.key")
    flags = {
        name: str(tmp_path / f"server.{end}")
        for name, end in (("tls_cert", "pem"), ("tls_key", "key"))
    }
    tls = read_access(Settings(**flags)).tls
    assert tls is not None
    assert tls.expires == expires.timestamp()
