"""What a folder in Hugging Face's format says about its model, read without torch.

The fronts and the supervisor need a checkpoint's vocabulary and frame rate, and a clear word about
a folder that cannot be served; neither needs the weights in memory.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_backend import __version__

MODEL_TYPES = frozenset(
    {"wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat"}
)
SAMPLE_RATE_HZ = 16_000

# Defaults of the configuration, tokenizer and feature extractor classes of transformers, for files
# that leave a key out.
_CONV_KERNEL = (10, 3, 3, 3, 3, 2, 2)
_CONV_STRIDE = (5, 2, 2, 2, 2, 2, 2)
_VOCAB_SIZE = 32
_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}


class CheckpointError(Exception):
    """The folder cannot be served; the message is one line for a person."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A CTC checkpoint on disk.

    Attributes:
        path: the folder.
        id: what a result reports as the model: "demo", or the folder's name unless given.
        revision: the package's version for the demo, else "local" unless given.
        model_type: `model_type` of config.json, one of MODEL_TYPES.
        vocabulary: the symbol of each output of the network, by id; "" where no symbol has the id.
        blank_id: id of the CTC blank, which is the padding token in this family.
        word_delimiter_id: id of the symbol between words; None where the vocabulary has none.
        special_ids: ids that never become text, the blank among them.
        do_normalize: whether a window is brought to zero mean and unit variance.
        sample_rate_hz: of the audio that the network hears; always 16000.
        conv_kernel: widths of the feature extractor's convolutions.
        conv_stride: strides of the same.
    """

    path: Path
    id: str
    revision: str
    model_type: str
    vocabulary: tuple[str, ...]
    blank_id: int
    word_delimiter_id: int | None
    special_ids: frozenset[int]
    do_normalize: bool
    sample_rate_hz: int
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]

    @property
    def stride_samples(self) -> int:
        """Samples from one frame to the next, 320 (20 ms) for the published checkpoints."""
        return math.prod(self.conv_stride)

    @property
    def receptive_field_samples(self) -> int:
        """Samples that one frame sees, 400 for the published checkpoints."""
        field = 1
        for kernel, stride in zip(self.conv_kernel[::-1], self.conv_stride[::-1], strict=True):
            field = (field - 1) * stride + kernel
        return field

    def frame_count(self, sample_count: int) -> int:
        """Frames that the network gives for an unpadded clip of `sample_count` samples."""
        count = sample_count
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            count = (count - kernel) // stride + 1 if count >= kernel else 0
        return count


def demo_checkpoint() -> Path:
    """The folder of the checkpoint that the package carries."""
    return Path(__file__).with_name("demo_checkpoint")


def load_checkpoint(
    path: Path, *, id: str | None = None, revision: str | None = None
) -> Checkpoint:
    """Read a checkpoint's description.

    Args:
        path: a folder with config.json, vocab.json, a feature extractor's settings and safetensors.
        id: reported instead of the folder's name.
        revision: reported instead of "local".

    Raises:
        CheckpointError: the folder is missing, incomplete, not of a CTC model of this family, or
            holds pickled weights only.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder")
    try:
        return _read_checkpoint(path, id, revision)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a setting is not as it should be: {error!r}") from error


def _read_checkpoint(path: Path, id: str | None, revision: str | None) -> Checkpoint:
    config = _read_json(path / "config.json")
    _check_model(path, config)
    extractor = _feature_extractor(path)
    _check_weights(path)
    vocabulary, blank_id, word_delimiter_id, special_ids = _read_vocabulary(path, config)
    is_demo = path.resolve() == demo_checkpoint().resolve()
    return Checkpoint(
        path=path,
        id=id or ("demo" if is_demo else path.resolve().name),
        revision=revision or (__version__ if is_demo else "local"),
        model_type=config["model_type"],
        vocabulary=vocabulary,
        blank_id=blank_id,
        word_delimiter_id=word_delimiter_id,
        special_ids=special_ids,
        do_normalize=bool(extractor.get("do_normalize", True)),
        sample_rate_hz=SAMPLE_RATE_HZ,
        conv_kernel=tuple(config.get("conv_kernel", _CONV_KERNEL)),
        conv_stride=tuple(config.get("conv_stride", _CONV_STRIDE)),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: is not a JSON object")
    return content


def _read_json_if_there(path: Path) -> dict[str, Any]:
    return _read_json(path) if path.exists() else {}


def _check_model(path: Path, config: Mapping[str, Any]) -> None:
    architectures = config.get("architectures") or []
    if not any(str(name).endswith("ForCTC") for name in architectures):
        found = ", ".join(map(str, architectures)) or "none named"
        raise CheckpointError(f"{path}: not a CTC checkpoint (architectures: {found})")
    if config.get("model_type") not in MODEL_TYPES:
        known = ", ".join(sorted(MODEL_TYPES))
        raise CheckpointError(f"{path}: model_type {config.get('model_type')!r} is none of {known}")
    if config.get("add_adapter"):
        raise CheckpointError(
            f"{path}: a convolutional adapter behind the encoder (add_adapter) is not supported"
        )


def _feature_extractor(path: Path) -> dict[str, Any]:
    """Settings of the feature extractor, from a file of its own or from the processor's."""
    settings = _read_json_if_there(path / "preprocessor_config.json")
    settings = settings or _read_json_if_there(path / "processor_config.json").get(
        "feature_extractor", {}
    )
    if not settings:
        raise CheckpointError(f"{path}: has no preprocessor_config.json")
    rate = settings.get("sampling_rate", SAMPLE_RATE_HZ)
    if rate != SAMPLE_RATE_HZ:
        raise CheckpointError(f"{path}: wants audio at {rate} Hz, only {SAMPLE_RATE_HZ} is served")
    return settings


def _check_weights(path: Path) -> None:
    if (path / "model.safetensors").is_file():
        shards = {"model.safetensors"}
    elif (path / "model.safetensors.index.json").is_file():
        index = _read_json(path / "model.safetensors.index.json")
        shards = set(index.get("weight_map", {}).values())
    elif any(path.glob("pytorch_model*.bin")):
        raise CheckpointError(
            f"{path}: has pickled weights only (pytorch_model.bin); "
            f"make safetensors of them with: asr-server convert {path} DST"
        )
    else:
        shards = set()
    if not shards:
        raise CheckpointError(f"{path}: has no weights (model.safetensors)")
    for shard in sorted(shards):
        _check_safetensors(path / shard)


def _check_safetensors(path: Path) -> None:
    """A download that was cut short, or a Git LFS pointer, is found here and not in torch."""
    try:
        with path.open("rb") as file:
            (header_size,) = struct.unpack("<Q", file.read(8))
            size = path.stat().st_size
            header = json.loads(file.read(header_size)) if header_size < size else {}
        data_size = max(
            entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"
        )
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: has no {path.name}") from None
    except (OSError, ValueError, struct.error, LookupError, TypeError, AttributeError):
        raise CheckpointError(f"{path}: not a safetensors file") from None
    if size != 8 + header_size + data_size:
        raise CheckpointError(
            f"{path}: {size} bytes, its header says {8 + header_size + data_size}; "
            "was the download cut short?"
        )


def _read_vocabulary(
    path: Path, config: Mapping[str, Any]
) -> tuple[tuple[str, ...], int, int | None, frozenset[int]]:
    """The symbols by id, the blank's id, the word delimiter's, and the ids that are never text."""
    ids = _read_json(path / "vocab.json")
    if any(isinstance(value, dict) for value in ids.values()):
        raise CheckpointError(
            f"{path}: a vocabulary for each language (language adapters) is not supported yet"
        )
    tokenizer = {
        **_read_json_if_there(path / "special_tokens_map.json"),
        **_read_json_if_there(path / "tokenizer_config.json"),
    }
    added = {
        str(_token(entry)): int(index)
        for index, entry in tokenizer.get("added_tokens_decoder", {}).items()
    }
    ids = {**_read_json_if_there(path / "added_tokens.json"), **added, **ids}
    size = config.get("vocab_size", _VOCAB_SIZE)
    # Tokens that a tokenizer added behind the network's outputs can never be heard.
    symbols = {index: symbol for symbol, index in ids.items() if 0 <= index < size}

    special = {_token(tokenizer.get(key, token)) for key, token in _SPECIAL_TOKENS.items()}
    blank_id = config.get("pad_token_id", 0)
    if blank_id is None:
        blank_id = ids.get(_token(tokenizer.get("pad_token", "<pad>")) or "")
    if not isinstance(blank_id, int) or not 0 <= blank_id < size:
        raise CheckpointError(
            f"{path}: the blank (pad_token_id {blank_id}) is not one of the {size} outputs"
        )
    delimiter = _token(tokenizer.get("word_delimiter_token", "|"))
    word_delimiter_id = ids.get(delimiter) if delimiter else None
    special_ids = {
        index for index in range(size) if index not in symbols or symbols[index] in special
    }
    return (
        tuple(symbols.get(index, "") for index in range(size)),
        blank_id,
        word_delimiter_id if word_delimiter_id in symbols else None,
        frozenset(special_ids | {blank_id}),
    )


def _token(value: Any) -> str | None:
    """A special token, which tokenizer files hold as text or as an object with `content`."""
    return value.get("content") if isinstance(value, dict) else value
