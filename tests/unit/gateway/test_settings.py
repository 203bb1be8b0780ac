from __future__ import annotations

import json

import pytest

from asr_gateway import cli
from asr_gateway.console import StartError
from asr_gateway.settings import FIELDS, Settings, env_name, flag_name, parse


def settings(*flags: str, **env: str) -> Settings:
    return parse(["--server=localhost:8001", *flags], env).settings


def test_a_flag_overrides_its_variable():
    env = {"ASR_GATEWAY_HTTP_PORT": "1", "ASR_GATEWAY_LOG_TEXT": "1"}
    assert settings(**env).http_port == 1
    assert settings("--http-port=2", **env).http_port == 2
    assert settings(**env).log_text


def test_every_flag_has_its_variable():
    env = {env_name(field): "1" for field in FIELDS if field.type in ("int", "float")}
    for field in FIELDS:
        if field.type in ("int", "float"):
            assert getattr(settings(**env), field.name) == 1
        assert env_name(field) == "ASR_GATEWAY_" + flag_name(field)[2:].replace("-", "_").upper()


def test_lists():
    chosen = settings("--model-alias=whisper-1, gpt-4o-transcribe", "--server=a:1,b:2")
    assert chosen.aliases == ("whisper-1", "gpt-4o-transcribe")
    assert chosen.servers == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--sever=a:1"], "unrecognized arguments: --sever=a:1; see asr-gateway --help"),
        (["--http-port=x"], "--http-port 'x': not a whole number from 0 to 65535"),
        (["--http-port=65536"], "--http-port 65536: out of range"),
        (["--timeout-s=nan"], "--timeout-s nan: out of range"),
        (["--decoder=best"], "--decoder 'best': it is auto or greedy or beam"),
        (["--server="], "--server is missing"),
        (["--keys=k.json", "--no-keys"], "exclude each other"),
        (["--tls-cert=c.pem"], "belong together"),
        (["--store=mysql://x"], "--store 'mysql://x': not sqlite:///FILE"),
        (["--host=0.0.0.0"], "--keys FILE is needed, or --no-keys"),
        (["--host=no.such.host.invalid"], "neither an address nor a name of one"),
        (["--server-token-file=/no/such/file"], "No such file"),
        (["--tls-cert=/no/such/file", "--tls-key=/no/such/file"], "--tls-cert and --tls-key: "),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(
    flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["--server=localhost:8001", "--http-port=0", *flags]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("asr-gateway: ")
    assert complaint in printed.err
    assert printed.err.count("\n") == 1


def test_a_wrong_variable_is_named():
    with pytest.raises(StartError, match="ASR_GATEWAY_NO_KEYS 'yes': it is 1 or 0"):
        settings(ASR_GATEWAY_NO_KEYS="yes")


def test_print_config(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--server=a:1", "--host=0.0.0.0", "--no-keys", "--print-config"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.keys() == {field.name for field in FIELDS}
    assert shown["host"] == "0.0.0.0"
