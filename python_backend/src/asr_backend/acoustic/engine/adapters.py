"""Language adapters: small sets of weights that are exchanged between two forwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from asr_backend.acoustic.engine.weights import check_finite
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.checkpoint.files import CheckpointError, adapter_file

MAX_IN_MEMORY = 32
"""Adapters kept in memory; one of MMS takes 9 MB in fp32. Others are read again when needed."""


class Adapters:
    """Switches a network between languages.

    Args:
        checkpoint: whose languages they are.
        model: Hugging Face's, on its device and in its precision; its default adapter is in it.

    Raises:
        CheckpointError: an adapter does not fit the network.
    """

    def __init__(self, checkpoint: Checkpoint, model: Any) -> None:
        self._checkpoint = checkpoint
        self._parameters = adapted_parameters(model)
        self._language = checkpoint.language
        self._default = {name: parameter.data for name, parameter in self._parameters.items()}
        for language in checkpoint.languages:
            if language != checkpoint.language:
                _check(checkpoint, language, self._default)
        self._read = lru_cache(MAX_IN_MEMORY)(self._load)

    def use(self, language: str) -> None:
        """Switch the network to this language.

        Raises:
            CheckpointError: its adapter has weights that are NaN or infinite.
        """
        if language == self._language:
            return
        is_default = language == self._checkpoint.language
        for name, weights in (self._default if is_default else self._read(language)).items():
            self._parameters[name].data = weights
        self._language = language

    def _load(self, language: str) -> dict[str, torch.Tensor]:
        path = adapter_file(self._checkpoint.path, language)
        weights = load_file(path)
        check_finite(path, weights)
        return {name: weights[name].to(default) for name, default in self._default.items()}


def has_default_adapter(checkpoint: Checkpoint) -> bool:
    """Whether the folder has an adapter file of the default language."""
    language = checkpoint.language
    return language is not None and adapter_file(checkpoint.path, language).exists()


def use_default_adapter(checkpoint: Checkpoint, model: Any) -> None:
    """Put the adapter of the default language into a network, where the folder has its file.

    The weights beside it may be those of another language: only tokenizer_config.json changes for
    another default.

    Raises:
        CheckpointError: the adapter does not fit the network.
    """
    if checkpoint.language is None or not has_default_adapter(checkpoint):
        return
    path = adapter_file(checkpoint.path, checkpoint.language)
    parameters = adapted_parameters(model)
    _check(
        checkpoint,
        checkpoint.language,
        {name: parameter.data for name, parameter in parameters.items()},
    )
    weights = load_file(path)
    for name, parameter in parameters.items():
        parameter.data = weights[name].to(parameter.data)
    model.lm_head.out_features = len(checkpoint.vocabulary)


def adapted_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters of a network that each language has its own of, by name."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if ".adapter_layer." in name or name.startswith("lm_head.")
    }


def _check(checkpoint: Checkpoint, language: str, defaults: Mapping[str, torch.Tensor]) -> None:
    path = adapter_file(checkpoint.path, language)
    with safe_open(path, framework="pt") as file:
        names: Iterable[str] = file.keys()
        shapes = {name: list(file.get_slice(name).get_shape()) for name in names}
    for name, default in defaults.items():
        wanted = list(default.shape)
        if name.startswith("lm_head."):
            wanted[0] = len(checkpoint.languages[language].vocabulary)
        if shapes.get(name) != wanted:
            raise CheckpointError(f"{path}: {name} is {shapes.get(name)}, not {wanted}")
