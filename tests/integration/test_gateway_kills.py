"""Gateways killed at random moments under load lose no job and do none twice visibly."""

from __future__ import annotations

import pytest

from tools import gateway_kills

KILLS = 10

# Without a tritonserver, but for minutes, as the tests beside it.
pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_nothing_is_lost_or_done_twice(store: str):
    tally = gateway_kills.run(store, kills=KILLS, seed=1)
    assert tally.wrong == []
    assert tally.kills == KILLS
    assert tally.jobs >= KILLS
