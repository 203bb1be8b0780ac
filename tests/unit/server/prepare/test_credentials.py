"""Certificates and the token: errors in them are reported before Triton starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from asr_backend.server.errors import StartError
from asr_backend.server.prepare import tritonserver
from asr_backend.server.prepare.credentials import Access, Tls, client_flags, read_access, warnings
from asr_backend.server.settings import Settings
from tests.unit.server.prepare.test_tritonserver import PORTS, arguments

TOKEN = "hush:hush,=+/=="


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("server", "other"):
        issued = authority.issue_cert("asr.test")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        (folder / f"{name}.key").chmod(0o600)
    (folder / "junk").write_text("-----BEGIN NOTHING-----")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(content: str | bytes, mode: int = 0o600) -> Path:
        path = tmp_path / "token"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    return written


def test_without_flags_anybody_may_call():
    assert read_access(Settings()) == Access()
    assert client_flags(Settings()) == ""


def test_a_token_is_read_and_never_shown(write):
    access = read_access(Settings(token_file=str(write(f"{TOKEN}\n", 0o400))))
    assert access.token == TOKEN
    assert TOKEN not in repr(access)


@pytest.mark.parametrize("mode", [0o440, 0o640, 0o400])
def test_a_kubernetes_secret_is_read_by_its_group(tmp_path, mode):
    """A volume is a folder of links: FILE to ..data/FILE, and ..data to a folder with the time."""
    version = tmp_path / "..2026_11_30_05_21_00.1"
    version.mkdir()
    (version / "token").write_text(TOKEN)
    (version / "token").chmod(mode)
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "token").symlink_to("..data/token")
    assert read_access(Settings(token_file=str(tmp_path / "token"))).token == TOKEN


@pytest.mark.parametrize("mode", [0o444, 0o604, 0o602, 0o620, 0o660, 0o610, 0o601, 0o777])
def test_a_token_that_others_can_read_is_refused(write, mode):
    path = write(TOKEN, mode)
    with pytest.raises(
        StartError, match=rf"--token-file {path}: .*{mode:04o}.*chmod 600"
    ) as caught:
        read_access(Settings(token_file=str(path)))
    assert TOKEN not in str(caught.value)


def test_the_mode_is_that_of_the_file_behind_a_link(write, tmp_path):
    (tmp_path / "link").symlink_to(write(TOKEN, 0o644))
    with pytest.raises(StartError, match="open to others"):
        read_access(Settings(token_file=str(tmp_path / "link")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("hush two", "one line"),
        ("hush\nhush\n", "one line"),
        ("hüsh", "one line"),
        (b"hush\0", "one line"),
        ("hush" * 1025, "at most 4096"),
    ],
)
def test_what_is_no_token_is_refused_without_showing_it(write, content, words):
    with pytest.raises(StartError, match=words) as caught:
        read_access(Settings(token_file=str(write(content))))
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_token_file_that_cannot_be_read(tmp_path):
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(StartError, match=f"--token-file {path}: {words}"):
            read_access(Settings(token_file=str(path)))


def test_certificates_become_absolute_paths(certificates, monkeypatch):
    monkeypatch.chdir(certificates)
    files = {"tls_cert": "server.pem", "tls_key": "server.key"}
    tls = read_access(Settings(**files)).tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (certificates / "server.pem", certificates / "server.key")
    assert tls.client_ca is None
    mutual = read_access(Settings(**files, tls_ca="ca.pem")).tls
    assert mutual is not None
    assert mutual.client_ca == certificates / "ca.pem"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"tls_cert": "server.pem"}, "both --tls-cert and --tls-key"),
        ({"tls_key": "server.key"}, "both --tls-cert and --tls-key"),
        ({"tls_ca": "ca.pem"}, "both --tls-cert and --tls-key"),
        ({"tls_cert": "none", "tls_key": "server.key"}, "--tls-cert /.*none: No such file"),
        ({"tls_cert": "server.pem", "tls_key": "."}, "--tls-key /.*: Is a directory"),
        ({"tls_cert": "junk", "tls_key": "server.key"}, "--tls-cert .*junk: has no certificate"),
        ({"tls_cert": "server.pem", "tls_key": "junk"}, "--tls-key .*junk: has no private key"),
        (
            {"tls_cert": "server.pem", "tls_key": "other.key"},
            r"--tls-key .*other\.key: does not belong to --tls-cert .*server\.pem",
        ),
        (
            {"tls_cert": "server.pem", "tls_key": "server.key", "tls_ca": "server.key"},
            r"--tls-ca .*server\.key: has no certificate",
        ),
    ],
)
def test_wrong_certificates_are_one_line(certificates, monkeypatch, files, words):
    monkeypatch.chdir(certificates)
    with pytest.raises(StartError, match=words) as caught:
        read_access(Settings(**files))
    assert "\n" not in str(caught.value)
    assert "-----" not in str(caught.value)


def test_http_would_be_a_way_around_tls(certificates, monkeypatch):
    monkeypatch.chdir(certificates)
    with pytest.raises(StartError, match="--http-port 8000: Triton's HTTP has no TLS"):
        read_access(Settings(tls_cert="server.pem", tls_key="server.key", http_port=8000))


def test_what_a_person_should_know(certificates, monkeypatch):
    monkeypatch.chdir(certificates)
    (certificates / "server.key").chmod(0o644)
    settings = Settings(tls_cert="server.pem", tls_key="server.key", host="0.0.0.0")
    access = read_access(settings)
    for mode in (0o440, 0o600):
        (certificates / "server.key").chmod(mode)
        assert warnings(settings, access) == []
    (certificates / "server.key").chmod(0o644)
    (line,) = warnings(settings, access)
    assert "server.key is open to others (mode 0644)" in line
    (certificates / "server.key").chmod(0o600)

    (line,) = warnings(Settings(host="0.0.0.0"), Access(token=TOKEN))
    assert "plain text" in line
    assert TOKEN not in line
    assert warnings(Settings(), Access(token=TOKEN)) == []


def test_the_flags_for_a_caller():
    settings = Settings(tls_cert="c", tls_key="k", tls_ca="a", token_file="t")
    assert client_flags(settings) == (
        " --tls-ca FILE --tls-cert FILE --tls-key FILE --token-file t"
    )


def test_triton_s_arguments():
    server = tritonserver.find("")
    tls = Tls(certificate=Path("/c"), key=Path("/k"))
    found = arguments(server, Settings(), access=Access(tls=tls))
    assert found["grpc-use-ssl"] == "true"
    assert (found["grpc-server-cert"], found["grpc-server-key"]) == ("/c", "/k")
    assert not {"grpc-use-ssl-mutual", "grpc-root-cert"} & found.keys()

    tls = Tls(certificate=Path("/c"), key=Path("/k"), client_ca=Path("/a"))
    found = arguments(server, Settings(), access=Access(tls=tls))
    assert found["grpc-use-ssl-mutual"] == "true"
    assert found["grpc-root-cert"] == "/a"


@pytest.mark.parametrize("http", [0, 4])
def test_the_token_gates_all_that_is_not_locked_but_health(http):
    ports = type(PORTS)(**{**vars(PORTS), "http": http})
    argv = tritonserver.command_line(
        tritonserver.find(""),
        Settings(),
        ports,
        repository=Path("/r"),
        backends=Path("/b"),
        region_prefix="p-",
        secret="s3cret",
        access=Access(token=TOKEN),
    )
    groups = (
        "shared-memory,model-repository,trace,logging:LOCKED: no header opens it=s3cret",
        f"inference,metadata,model-config,statistics:authorization={TOKEN}",
    )
    gates = ("grpc-restricted-protocol", "http-restricted-api")[: 1 + bool(http)]
    shown = [argument for argument in argv if "-restricted-" in argument]
    assert shown == [f"--{gate}={group}" for gate in gates for group in groups]
