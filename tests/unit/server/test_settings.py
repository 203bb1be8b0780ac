from __future__ import annotations

import dataclasses

import pytest

from asr_backend.server.errors import StartError
from asr_backend.server.settings import FIELDS, Settings, env_name, flag_name, markdown, parse


def test_defaults_come_from_the_table():
    assert parse([], {}).settings == Settings()
    assert parse([], {}).print_config is False
    assert Settings().max_audio_s == 7200
    assert Settings().max_audio_bytes == 256 * 2**20
    assert Settings().host == Settings().admin_host == "127.0.0.1"
    assert Settings().http_port == 0


def test_a_flag_wins_over_its_variable():
    env = {"ASR_GRPC_PORT": "9001", "ASR_MAX_WINDOW_S": "12.5", "ASR_MODEL": ""}
    settings = parse(["--grpc-port", "9002"], env).settings
    assert settings.grpc_port == 9002
    assert settings.max_window_s == 12.5
    assert settings.model == ""


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_has_a_flag_a_variable_and_a_line_of_help(field, capsys):
    limits = field.metadata
    text = limits["choices"][0] if limits["choices"] else str(min(7, limits["high"] or 7))
    flag, variable = flag_name(field), env_name(field)
    argv = [flag, text]
    if field.type == "bool":
        argv, text = [flag], "1"
    by_flag, by_env = parse(argv, {}).settings, parse([], {variable: text}).settings
    assert by_flag == by_env
    assert by_flag == dataclasses.replace(Settings(), **{field.name: getattr(by_flag, field.name)})
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"], {})
    shown = capsys.readouterr().out
    assert flag in shown
    assert variable in shown
    assert f"`{variable}`" in markdown()


@pytest.mark.parametrize(
    ("argv", "env", "words"),
    [
        (["--grpc-port", "70000"], {}, ["--grpc-port", "70000", "0 to 65535"]),
        (["--grpc-port", "x"], {}, ["--grpc-port 'x'", "whole number"]),
        ([], {"ASR_INSTANCES": "0"}, ["ASR_INSTANCES 0", "1 to 64"]),
        ([], {"ASR_COMPILE": "yes"}, ["ASR_COMPILE 'yes'", "1 or 0"]),
        (["--max-window-s", "nan"], {}, ["--max-window-s nan", "out of range"]),
        (["--precision", "int4"], {}, ["--precision 'int4'", "auto or fp32 or bf16"]),
        (["--device", "tpu"], {}, ["--device 'tpu'", "auto or cpu or cuda"]),
        (["--colour", "red"], {}, ["--colour"]),
        (["--grpc", "1"], {}, ["--grpc"]),
        (["--grpc-port"], {}, ["--grpc-port", "expected one argument"]),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(argv, env, words):
    with pytest.raises(StartError) as caught:
        parse(argv, env)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_numbers_of_processes_and_threads_are_derived(monkeypatch):
    monkeypatch.setattr("asr_backend.server.settings.core_count", lambda: 6)
    assert Settings().effective_frontends == 4
    assert Settings(frontends=1).effective_frontends == 1
    assert Settings(instances=4).effective_threads == 1
    assert Settings(instances=2).effective_threads == 3
    assert Settings(threads=5).effective_threads == 5
