"""The training steps of the demo checkpoint: a state, and the loss of each stage.

Three stages, so that most steps need no pass through the convolutions, which cost more than half:

- `encoder`: the Transformer learns CTC on true log-mel frames through a linear layer.
- `front`: the convolutions learn to give the same log-mel frames through another linear layer. The
  two stages do not depend on each other and can run side by side.
- `joint`: both linear layers are multiplied into the feature projection, which makes an ordinary
  Wav2Vec2, and everything learns CTC from samples, the convolutions still log-mel frames besides;
  two steps of five are `encoder` steps, which are cheap and see warped filter banks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Wav2Vec2ForCTC

from tools.demo_checkpoint.log_mel import BINS, filterbank, log_mel
from tools.demo_checkpoint.model import build_config, encode
from tools.demo_checkpoint.pcm import Samples

STAGES = ("encoder", "front", "joint")
RIDGE = 1e-3
WARPS = tuple(0.88 + 0.03 * i for i in range(9))


@dataclass(frozen=True)
class Batch:
    """Padded clips with their words."""

    samples: Tensor
    """float32 [batch, n], zero-padded."""
    frames: Tensor
    """Valid 20 ms frames of each clip [batch]."""
    targets: Tensor
    """Symbols of all clips, one after the other."""
    lengths: Tensor
    """Symbols of each clip [batch]."""


def collate(items: list[tuple[str, Samples]]) -> Batch:
    """Pad clips to a batch."""
    longest = max(len(samples) for _, samples in items)
    padded = torch.zeros(len(items), longest)
    for row, (_, samples) in enumerate(items):
        padded[row, : len(samples)] = torch.from_numpy(samples)
    frames = torch.tensor([(len(samples) - 400) // 320 + 1 for _, samples in items])
    symbols = [encode(text) for text, _ in items]
    lengths = torch.tensor([len(s) for s in symbols])
    return Batch(padded, frames, torch.tensor([i for s in symbols for i in s]), lengths)


class DemoTrainer(nn.Module):
    """The model with the two linear layers that tie its halves to log-mel frames."""

    def __init__(self) -> None:
        super().__init__()
        config = build_config()
        self.model = Wav2Vec2ForCTC(config)
        self.front_to_mel = nn.Linear(config.conv_dim[-1], BINS)
        self.mel_to_hidden = nn.Linear(BINS, config.hidden_size)
        self.register_buffer("banks", torch.stack([filterbank(w) for w in WARPS]), False)
        self.register_buffer("bank", filterbank(), False)

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """What a stage trains."""
        wav2vec2 = self.model.wav2vec2
        front = [wav2vec2.feature_extractor, wav2vec2.feature_projection.layer_norm]
        modules: dict[str, list[nn.Module]] = {
            "encoder": [wav2vec2.encoder, self.model.lm_head, self.mel_to_hidden],
            "front": [*front, self.front_to_mel],
            "joint": [*front, wav2vec2.feature_projection.projection],
        }
        modules["joint"] += modules["encoder"]
        return [p for module in modules[stage] for p in module.parameters()]

    def loss(self, stage: str, batch: Batch, step: int) -> Tensor:
        """The loss of a batch in a step of a stage."""
        if stage == "front":
            return self._mel_loss(batch, self._front(batch.samples))
        features = None
        if stage == "encoder" or step % 5 in (1, 3):
            warps = torch.randint(len(WARPS), (len(batch.samples),))
            hidden = self.mel_to_hidden(_mask(log_mel(batch.samples, self.banks[warps])))
        else:
            features = self._front(batch.samples)
            hidden = self._project(features)
        logits = self._encode(hidden, batch.frames)
        log_probs = functional.log_softmax(logits, -1).transpose(0, 1)
        loss = functional.ctc_loss(
            log_probs, batch.targets, batch.frames, batch.lengths, zero_infinity=True
        )
        return loss if features is None else loss + self._mel_loss(batch, features)

    def hypothesise(self, stage: str, samples: Tensor) -> Tensor:
        """Logits [1, frames, symbols] of normalised samples [1, n] with what a stage trains."""
        if stage == "joint":
            return self.model(samples).logits
        hidden = self.mel_to_hidden(log_mel(samples, self.bank))
        return self._encode(hidden, torch.tensor([hidden.shape[1]]))

    def join(self, encoder: dict[str, Tensor], front: dict[str, Tensor]) -> None:
        """Take in the weights of the two first stages and make the product of the linear layers.

        Args:
            encoder: State of a trainer after the `encoder` stage.
            front: State of a trainer after the `front` stage.
        """
        fronts = ("model.wav2vec2.feature_", "front_to_mel.")
        joined = {k: (front if k.startswith(fronts) else encoder)[k] for k in self.state_dict()}
        self.load_state_dict(joined)
        with torch.no_grad():
            projection = self.model.wav2vec2.feature_projection.projection
            projection.weight.copy_(self.mel_to_hidden.weight @ self.front_to_mel.weight)
            bias = self.mel_to_hidden.weight @ self.front_to_mel.bias + self.mel_to_hidden.bias
            projection.bias.copy_(bias)

    @torch.no_grad()
    def adopt(self, model: Wav2Vec2ForCTC, batches: Iterable[Batch]) -> None:
        """Take in a finished model, and fit the two linear layers that it lacks.

        Both are ridge regressions over the frames of some batches: what gives log-mel
        frames from the convolutions' features, and the projection's output from log-mel frames.
        """
        self.model.load_state_dict(model.state_dict())
        features, mels = [], []
        for batch in batches:
            mask = torch.arange(int(batch.frames.max()))[None] < batch.frames[:, None]
            features.append(self._front(batch.samples)[mask])
            mels.append(log_mel(batch.samples, self.bank)[mask])
        given, mel = torch.cat(features), torch.cat(mels)
        _fit(self.front_to_mel, given, mel)
        _fit(self.mel_to_hidden, mel, self._project(given))

    def _front(self, samples: Tensor) -> Tensor:
        features = self.model.wav2vec2.feature_extractor(samples).transpose(1, 2)
        return self.model.wav2vec2.feature_projection.layer_norm(features)

    def _project(self, features: Tensor) -> Tensor:
        return self.model.wav2vec2.feature_projection.projection(features)

    def _encode(self, hidden: Tensor, frames: Tensor) -> Tensor:
        mask = torch.arange(hidden.shape[1])[None] < frames[:, None]
        return self.model.lm_head(self.model.wav2vec2.encoder(hidden, attention_mask=mask)[0])

    def _mel_loss(self, batch: Batch, features: Tensor) -> Tensor:
        wanted = log_mel(batch.samples, self.bank)
        given = self.front_to_mel(features)
        mask = torch.arange(wanted.shape[1])[None] < batch.frames[:, None]
        return (given - wanted)[mask].square().mean()


def _fit(layer: nn.Linear, inputs: Tensor, outputs: Tensor) -> None:
    """Give a layer the ridge regression's solution; normalised features are nearly collinear."""
    with_bias = torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double()
    gram = with_bias.T @ with_bias / len(inputs)
    moments = with_bias.T @ outputs.double() / len(inputs)
    solution = torch.linalg.solve(gram + RIDGE * torch.eye(len(gram)), moments).float()
    layer.weight.copy_(solution[:-1].T)
    layer.bias.copy_(solution[-1])


def _mask(mel: Tensor) -> Tensor:
    """Blank up to 8 bins of a fifth of the clips and up to 6 frames of a fifth."""
    mel = mel.clone()
    for row in mel:
        if torch.rand(()) < 0.2:
            start, width = int(torch.randint(BINS - 8, ())), int(torch.randint(1, 9, ()))
            row[:, start : start + width] = -0.45
        if torch.rand(()) < 0.2:
            start, width = int(torch.randint(len(row), ())), int(torch.randint(1, 7, ()))
            row[start : start + width] = -0.45
    return mel


def learning_rate(peak: float, progress: float, step: int, warm_up: int) -> float:
    """Linear warm-up over steps, then a half cosine over the stage's time (progress 0 to 1)."""
    decay = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * min(1.0, (step + 1) / warm_up) * max(decay, 0.01)


class Average:
    """Exponential moving average of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float = 0.997) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module, step: int) -> None:
        """Take in the current parameters; early steps weigh more."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            self.values[name].lerp_(value, 1 - decay)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state: tensors and numbers only."""
    return torch.load(path, weights_only=True)


def save_state(path: Path, state: dict[str, object]) -> None:
    """Write a training state; a crash leaves the previous one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
