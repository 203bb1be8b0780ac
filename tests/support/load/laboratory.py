"""A sweep's runner with doubles of the server and of the load on it."""

import contextlib
import subprocess
import sys
from collections import Counter

from load_tests.report.server_side import ModelFigures
from load_tests.report.tally import Tally
from load_tests.run.closed_loop import Stretch
from load_tests.run.corpus import build_corpus
from load_tests.sweep.budget import Budget
from load_tests.sweep.costs import KINDS
from load_tests.sweep.points import Slice
from load_tests.sweep.recommendation import Target
from load_tests.sweep.runner import Runner, Streams
from load_tests.sweep.stability import StabilityRule
from load_tests.sweep.store import Store
from tests.support.load.made import server_figures
from tests.support.load.sweeps import costs, live_measured
from tools.local_server import LocalServer

CORPUS = build_corpus(seed=0, mix={"commands": 4})
RULE = StabilityRule(slice_s=1.0, slices=2, max_slices=4, tolerance=0.05)


def a_slice(rtfx=50.0, latencies_s=(0.1, 0.2), windows=10, queue_s=0.1):
    tally = Tally()
    for latency_s in latencies_s:
        tally.answered(CORPUS[0], latency_s, CORPUS[0].words)
    tally.audio_s = rtfx
    model = ModelFigures(
        requests=windows, executions=windows // 2, mean_batch=2.0, queue_s=queue_s, compute_s=0.1
    )
    server = server_figures(
        transcribe=model,
        wav2vec2=model,
        forward_windows={1.0: 2, 2.0: 3, float("inf"): 0},
        padding_waste=0.2,
        audio_s=rtfx,
        memory_bytes=600 << 20,
    )
    spent = costs(
        seconds=2.0, audio_s=2 * rtfx, padded_s=2.5 * rtfx, cpu_s=dict.fromkeys(KINDS, 0.5)
    )
    return Slice(stretch=Stretch(tally=tally, duration_s=1.0, server=server), costs=spent)


class Laboratory:
    """Starts processes that do nothing and says what was measured on them."""

    def __init__(self, folder, throughputs=(50.0,), budget=None):
        self.store = Store(folder, conditions={"clips": "four"}, target=Target())
        self.throughputs = throughputs
        self.budget = budget or Budget()
        self.starts = []
        self.loads = Counter()
        self.deadly = set()
        self.refuse = set()
        self.interrupt_at = None
        self.lines = []

    @contextlib.contextmanager
    def start(self, setting, *, ready_s):
        if setting in self.refuse:
            raise RuntimeError("asr-server ended with status 2")
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.starts.append(setting)
        self.setting = setting
        try:
            yield LocalServer(process=process, grpc_port=1, metrics_port=2, health_port=3)
        finally:
            process.kill()
            process.communicate()

    def take(self, server, *, concurrency, duration_s, warm_up_s, corpus, seed):
        assert duration_s == RULE.slice_s
        if (self.setting, concurrency) == self.interrupt_at:
            raise KeyboardInterrupt
        if (self.setting, concurrency) in self.deadly:
            self.deadly.remove((self.setting, concurrency))
            server.process.kill()
            server.process.wait()
            raise ConnectionRefusedError("no answer")
        self.loads[self.setting, concurrency] += 1
        return a_slice(rtfx=self.throughputs[seed % len(self.throughputs)])

    def take_live(self, server, *, streams):
        if (self.setting, Streams(len(streams))) in self.deadly:
            self.deadly.remove((self.setting, Streams(len(streams))))
            server.process.kill()
            server.process.wait()
            raise ConnectionRefusedError("no answer")
        self.loads[self.setting, Streams(len(streams))] += 1
        return live_measured()

    def run(self, settings, concurrencies, streams=()):
        runner = Runner(
            start=self.start,
            take=self.take,
            rule=RULE,
            corpus=CORPUS,
            seed=0,
            store=self.store,
            log=self.lines.append,
            budget=self.budget,
            talks=CORPUS,
            take_live=self.take_live,
        )
        points = runner.run(
            settings,
            concurrencies,
            done=self.store.read(),
            streams=streams,
            live_done=self.store.read_live(),
        )
        self.live_points = runner.live_points
        return points
