from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.backend.front import Front


@pytest.fixture
def front() -> Iterator[Front]:
    front = Front()
    yield front
    front.model.finalize()
