"""Train one stage of the demo checkpoint for a fixed time; resumable, weights averaged.

    python -m tools.demo_checkpoint.train encoder --minutes 45 --state encoder.pt --corpus CORPUS
    python -m tools.demo_checkpoint.train front --minutes 20 --state front.pt --corpus CORPUS
    python -m tools.demo_checkpoint.train joint --minutes 50 --state joint.pt --corpus CORPUS \
        --join encoder.pt front.pt --output FOLDER

The learning rate follows the stage's time, so that it ends in time at any speed. The same command
goes on where its state was saved last. `--prompts` and `--spoken-digits` add real recordings. Each
worker is a process with batches of its own; gradients are averaged after each step.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader, IterableDataset
from transformers import Wav2Vec2ForCTC

from tools.command import make_parser
from tools.demo_checkpoint.batches import LONGEST_S, Mixture, batches
from tools.demo_checkpoint.evaluation_sets import add_set_flags, evaluation_sets, report
from tools.demo_checkpoint.model import export
from tools.demo_checkpoint.pcm import Clip, read_shards
from tools.demo_checkpoint.real_digits import read_prompts, read_spoken_digits
from tools.demo_checkpoint.training import (
    STAGES,
    Average,
    Batch,
    DemoTrainer,
    collate,
    learning_rate,
    load_state,
    save_state,
)

PEAK_LEARNING_RATE = {"encoder": 1.2e-3, "front": 2e-3, "joint": 7e-4}
WARM_UP_STEPS = {"encoder": 150, "front": 50, "joint": 100}
SAVE_EVERY_S = 180
ADOPTION_BATCHES = 24
"""Batches over which the linear layers of a finished checkpoint are fitted."""
SHORT_CLIPS_STEPS = 300
"""Steps of the first stage that see clips of up to 1.8 s only."""


class _Batches(IterableDataset[Batch]):
    def __init__(self, mixture: Mixture, seed: int, batch_s: float, longest_s: float, n: int):
        self._arguments = (mixture, seed, batch_s, longest_s, n)

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        return map(collate, batches(*self._arguments))


class Run:
    """A training run of one stage."""

    def __init__(self, arguments: argparse.Namespace, rank: int) -> None:
        self.rank = rank
        self.workers: int = arguments.workers
        self.evaluate_every: int = arguments.evaluate_every
        self.stage: str = arguments.stage
        self.budget_s: float = arguments.minutes * 60
        self.state_path: Path = arguments.state
        self.batch_s: float = arguments.batch_s
        self.peak: float = arguments.learning_rate or PEAK_LEARNING_RATE[self.stage]
        self.seed: int = arguments.seed + 10_000 * rank
        digits = {}
        if arguments.spoken_digits is not None:
            digits = read_spoken_digits(arguments.spoken_digits)
        for speaker in arguments.hold_out:
            digits.pop(speaker)
        prompts = read_prompts(arguments.prompts) if arguments.prompts else None
        self.mixture = Mixture(read_shards(arguments.corpus), prompts, digits)
        self.sets: dict[str, list[Clip]] = {}
        if rank == 0:
            self.sets = evaluation_sets(arguments, arguments.hold_out)
        self.trainer = DemoTrainer()
        self.step = 0
        self.elapsed_s = self.shared_s = 0.0
        if arguments.start is not None:
            self.trainer.load_state_dict(load_state(arguments.start)["average"])
        elif arguments.join is not None:
            self.trainer.join(*(load_state(path)["average"] for path in arguments.join))
        elif arguments.checkpoint is not None:
            model = Wav2Vec2ForCTC.from_pretrained(arguments.checkpoint)
            clean = batches(self.mixture, 0, self.batch_s)
            self.trainer.adopt(model, map(collate, islice(clean, ADOPTION_BATCHES)))
        parameters = self.trainer.stage_parameters(self.stage)
        self.optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01)
        self.average = Average(self.trainer)
        if self.state_path.exists():
            self._resume()

    def _resume(self) -> None:
        state = load_state(self.state_path)
        self.step, self.elapsed_s = state["position"]
        self.shared_s = self.elapsed_s
        self.trainer.load_state_dict(state["trainer"])
        self.average.values = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self._print(f"resumed at step {self.step}, {self.elapsed_s:.0f} s")

    def _print(self, line: str) -> None:
        if self.rank == 0:
            print(line, flush=True)

    def save(self) -> None:
        """Write the state, on the first worker."""
        if self.rank != 0:
            return
        state: dict[str, object] = {
            "position": (self.step, self.elapsed_s),
            "trainer": self.trainer.state_dict(),
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        save_state(self.state_path, state)

    def _loader(self, longest_s: float) -> Iterator[Batch]:
        repeats = 2 if self.stage == "encoder" else 1
        source = _Batches(self.mixture, self.seed + self.step, self.batch_s, longest_s, repeats)
        fork = {"multiprocessing_context": "fork"}
        return iter(DataLoader(source, batch_size=None, num_workers=1, prefetch_factor=8, **fork))

    def run(self) -> None:
        """Train until the stage's time is over, saving, printing and evaluating on the way."""
        short = self.stage == "encoder" and self.step < SHORT_CLIPS_STEPS
        loader = self._loader(1.8 if short else LONGEST_S)
        clock = saved = time.monotonic()
        losses: list[float] = []
        while self.shared_s < self.budget_s:
            if short and self.step >= SHORT_CLIPS_STEPS:
                short, loader = False, self._loader(LONGEST_S)
            losses.append(self._train_step(next(loader)))
            self.step += 1
            now = time.monotonic()
            self.elapsed_s, clock = self.elapsed_s + now - clock, now
            if self.workers == 1:
                self.shared_s = self.elapsed_s
            if self.step % 50 == 0:
                mean = sum(losses) / len(losses)
                self._print(f"{self.stage} {self.step} {self.elapsed_s:.0f} s loss {mean:.4f}")
                losses.clear()
            if now - saved > SAVE_EVERY_S:
                self.save()
                saved = now
            if self.step % self.evaluate_every == 0:
                self.evaluate()
        self.save()
        self.evaluate()

    def _train_step(self, batch: Batch) -> float:
        self.trainer.train()
        progress, warm_up = self.shared_s / self.budget_s, WARM_UP_STEPS[self.stage]
        rate = learning_rate(self.peak, progress, self.step, warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.trainer.loss(self.stage, batch, self.step)
        loss.backward()
        if self.workers > 1:
            self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.trainer.stage_parameters(self.stage), 1.0)
        self.optimizer.step()
        self.average.update(self.trainer, self.step)
        return float(loss.detach())

    def _average_gradients(self) -> None:
        """Average over the workers; the first one's clock goes along, so that all stop together."""
        gradients = [
            p.grad for p in self.trainer.stage_parameters(self.stage) if p.grad is not None
        ]
        clock = torch.tensor([self.elapsed_s if self.rank == 0 else 0.0])
        flat = torch.cat([clock, *(g.flatten() / self.workers for g in gradients)])
        distributed.all_reduce(flat)
        self.shared_s = float(flat[0])
        offset = 1
        for gradient in gradients:
            gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
            offset += gradient.numel()

    def evaluate(self) -> None:
        """Print the word error rates of the averaged weights."""
        if self.stage == "front" or not self.sets or self.rank != 0:
            return
        judge = DemoTrainer()
        judge.load_state_dict(self.average.values)
        judge.eval()
        rates = report(lambda samples: judge.hypothesise(self.stage, samples), self.sets)
        print(" ".join(f"[{name} {rate:.3f}]" for name, rate in rates.items()), flush=True)


def _work(rank: int, arguments: argparse.Namespace, rendezvous: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    if arguments.workers > 1:
        distributed.init_process_group(
            "gloo", init_method=rendezvous, rank=rank, world_size=arguments.workers
        )
    run = Run(arguments, rank)
    run.run()
    if rank == 0 and arguments.output is not None:
        run.trainer.load_state_dict(run.average.values)
        export(run.trainer.model, arguments.output)


def main() -> None:
    """Train a stage, then export the averaged weights if a folder is given."""
    parser = make_parser("tools.demo_checkpoint.train", __doc__)
    add_set_flags(parser)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, required=True, help="0 only exports the state")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of shards")
    parser.add_argument("--prompts", type=Path, help="folder of G.722 prompts")
    parser.add_argument("--hold-out", nargs="*", default=[], help="speakers kept for evaluation")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--start", type=Path, help="state whose averaged weights to start from")
    start.add_argument("--join", type=Path, nargs=2, help="states of encoder and front")
    start.add_argument("--checkpoint", type=Path, help="finished checkpoint to train further")
    parser.add_argument("--state", type=Path, required=True, help="file to resume from")
    parser.add_argument("--output", type=Path, help="the checkpoint's folder")
    parser.add_argument("--batch-s", type=float, default=24.0, help="seconds of audio in a batch")
    parser.add_argument("--learning-rate", type=float, help="peak; default depends on the stage")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--evaluate-every", type=int, default=1000, help="steps")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.workers == 1:
        _work(0, arguments, "")
    else:
        with tempfile.TemporaryDirectory() as folder:
            rendezvous = f"file://{folder}/rendezvous"
            multiprocessing.spawn(_work, (arguments, rendezvous), nprocs=arguments.workers)


if __name__ == "__main__":
    main()
