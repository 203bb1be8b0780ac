"""A decoder can be dropped at any moment, also while a thread runs it."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest

from asr_backend.front.window_source import WindowSource
from asr_backend.segmentation.windower import Windower


class Decoder:
    """Gives blocks of half a second; one of them may be held back."""

    def __init__(self, count: int, held: int | None = None) -> None:
        self._count = count
        self._held = held
        self.given = 0
        self.closed = 0
        self.is_held = threading.Event()
        self.go_on = threading.Event()

    def blocks(self) -> Generator[npt.NDArray[np.float32], None, None]:
        try:
            for index in range(self._count):
                if index == self._held:
                    self.is_held.set()
                    assert self.go_on.wait(60)
                self.given += 1
                yield np.zeros(8_000, np.float32)
        finally:
            self.closed += 1


def windower() -> Windower:
    return Windower(max_window_s=1, overlap_s=0.2, stride_samples=320)


def source(decoder: Decoder) -> WindowSource:
    return WindowSource(decoder.blocks(), windower())


def test_all_windows_are_pulled_and_the_decoder_is_closed_with_the_last() -> None:
    decoder = Decoder(5)
    windows = source(decoder)
    pulled = []
    while not windows.is_freed:
        assert decoder.closed == 0
        pulled.append(windows.pull())
    assert [window is not None and window.last for window in pulled] == [False, False, True]
    assert decoder.closed == 1
    assert windows.pull() is None
    windows.close()
    assert decoder.closed == 1


def test_closing_while_a_thread_pulls_ends_the_pull_and_closes_the_decoder() -> None:
    decoder = Decoder(1_000, held=1)
    windows = source(decoder)
    with ThreadPoolExecutor(1) as pool:
        pull = pool.submit(windows.pull)
        assert decoder.is_held.wait(60)
        windows.close()
        assert not windows.is_freed
        decoder.go_on.set()
        pull.result(60)
    assert decoder.given == 2
    assert decoder.closed == 1
    assert windows.is_freed
    assert windows.pull() is None


@pytest.mark.parametrize("pulls", [0, 1])
def test_closing_between_two_pulls_closes_the_decoder_at_once(pulls: int) -> None:
    decoder = Decoder(1_000)
    windows = source(decoder)
    for _ in range(pulls):
        windows.pull()
    windows.close()
    windows.close()
    assert windows.is_freed
    # A generator that never began has nothing to close.
    assert decoder.closed == min(pulls, 1)
    assert windows.pull() is None
    assert decoder.given <= 3


def test_a_decoder_that_fails_is_closed() -> None:
    def failing() -> Generator[npt.NDArray[np.float32], None, None]:
        yield np.zeros(8_000, np.float32)
        raise ValueError("broken")

    windows = WindowSource(failing(), windower())
    with pytest.raises(ValueError, match="broken"):
        windows.pull()
    assert windows.is_freed
