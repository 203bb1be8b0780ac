"""Our callers beside a program with perf_analyzer's flags, on the fake server."""

import sys

import pytest

from asr_client.testing import FakeServer
from load_tests.perf_analyzer_check import main

PROGRAM = f"""#!{sys.executable}
import argparse, base64, json, pathlib
parser = argparse.ArgumentParser()
for short in ("-m", "-i", "-u", "-f"):
    parser.add_argument(short)
parser.add_argument("--async", action="store_true")
for name in ("input-data", "concurrency-range", "measurement-interval", "max-trials"):
    parser.add_argument("--" + name)
for name in ("max-threads", "stability-percentage"):
    parser.add_argument("--" + name)
options = parser.parse_args()
requests = json.loads(pathlib.Path(options.input_data).read_text())["data"]
assert options.m == "transcribe" and options.i == "grpc" and len(requests) > 10
assert 3 * int(options.measurement_interval) == 900
assert options.max_threads == "1"
if RATE is None:
    raise SystemExit("failed to connect")
pathlib.Path(options.f).write_text("Concurrency,Inferences/Second,p95 latency\\n4,%s,9\\n" % RATE)
"""


@pytest.fixture
def server():
    with FakeServer(delay_s=0.1) as fake:
        yield fake


def agree(tmp_path, server, rate):
    program = tmp_path / "perf_analyzer"
    program.write_text(PROGRAM.replace("RATE", repr(rate)))
    program.chmod(0o755)
    load = ["--concurrency", "4", "--duration-s", "0.9", "--rounds", "1", "--tolerance", "0.3"]
    return main([str(program), "--url", server.url, *load])


def test_like_throughputs_agree(tmp_path, server, capsys):
    # Four callers of a server that takes a tenth of a second.
    assert agree(tmp_path, server, 38.0) == 0
    assert "within 30%" in capsys.readouterr().out


def test_different_throughputs_do_not_agree(tmp_path, server, capsys):
    assert agree(tmp_path, server, 80.0) == 1
    assert "not within 30%" in capsys.readouterr().out


def test_a_program_that_fails_is_reported(tmp_path, server, capsys):
    assert agree(tmp_path, server, None) == 1
    assert "failed to connect" in capsys.readouterr().err
