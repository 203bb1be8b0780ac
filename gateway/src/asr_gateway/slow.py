"""Work of the processor that would hold up the event loop: one thread does it, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
# Not asyncio's own threads: the store and the files of other requests need those.
_THREAD = ThreadPoolExecutor(1, "slow")


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What a function returns, after those of other requests."""
    future = asyncio.get_running_loop().run_in_executor(_THREAD, lambda: work(*args, **kwargs))
    return await future
