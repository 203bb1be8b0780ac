"""The command's flags that say who calls; what they open on a real server is tested there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from asr_client.cli.auth import credentials
from asr_client.cli.commands import app
from asr_client.testing import FakeServer
from tests.support.recordings import FOLDER

TOKEN = "hush-hush"
CARD = str(FOLDER / "cards-003-seven-of-clubs.wav")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASR_TOKEN", "ASR_TOKEN_FILE", "ASR_TLS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


def asr(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert TOKEN not in result.output
    return result


def test_the_token_comes_from_a_file_or_a_variable(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer(text="ace", token=TOKEN) as server:
        call = ("transcribe", CARD, "--url", server.url)
        refused = asr(*call)
        assert refused.exit_code == 1
        assert "the server refused the caller" in refused.stderr
        assert asr(*call, "--token-file", str(token_file)).stdout == "ace\n"

        monkeypatch.setenv("ASR_TOKEN", TOKEN)
        assert asr(*call).stdout == "ace\n"
        status = asr("status", "--url", server.url)
        assert f"server      {server.url}  live, ready" in status.stdout
        monkeypatch.setenv("ASR_TOKEN", "w-r-o-n-g")
        monkeypatch.setenv("ASR_TOKEN_FILE", str(token_file))
        assert asr(*call).stdout == "ace\n", "the file goes first"


@pytest.mark.parametrize("command", [("transcribe", CARD), ("status",)], ids=lambda c: c[0])
def test_wrong_files_are_one_line(token_file: Path, tmp_path: Path, command: tuple[str]) -> None:
    (tmp_path / "junk").write_text("junk")
    token_file.chmod(0o640)
    for arguments, words in (
        (("--token-file", f"{token_file}"), r"is open to others \(mode 0640\); chmod 600 it"),
        (("--token-file", f"{tmp_path}/none"), "--token-file /.*/none: No such file"),
        (("--token-file", "/dev/null"), "--token-file /dev/null: is "),
        (("--tls-ca", f"{tmp_path}/none"), "--tls-ca /.*/none: No such file"),
        (("--tls-cert", f"{tmp_path}/junk"), "--tls-cert and --tls-key go together"),
        (("--tls-ca", f"{tmp_path}/junk"), "root_certificates is not in PEM"),
    ):
        result = asr(*command, *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert re.search(words, result.stderr)
        assert result.stderr.startswith("asr: ")
        assert result.stderr.count("\n") == 1


def test_an_empty_token_is_none(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_TOKEN", "")
    assert credentials(None, False, None, None, None) == {"token": None, "tls": None}
    token_file.write_text(" \n")
    with pytest.raises(ValueError, match="is empty"):
        credentials(token_file, False, None, None, None)


def test_tls_alone_trusts_public_authorities() -> None:
    tls = credentials(None, True, None, None, None)["tls"]
    assert repr(tls) == "TlsConfig()"
