"""How often a process that dies is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

AT_ONCE = 3
"""Replacements without a pause."""
PAUSE_S = 30.0
"""Pause before each further one, from the one before."""
MAX_REPLACEMENTS = 10
"""Replacements within COUNT_FOR_S; then the server gives up."""
COUNT_FOR_S = 600.0
"""Seconds for which a replacement counts. A file that kills its process, and that callers send
again for three minutes, does not reach MAX_REPLACEMENTS."""


@dataclass
class Allowance:
    """A few replacements at once, then with pauses, then none: a new container may help."""

    _at_s: list[float] = field(default_factory=list)

    def is_spent(self, now_s: float) -> bool:
        """Whether no further replacement is allowed."""
        return len(self._counted(now_s)) >= MAX_REPLACEMENTS

    def may_now(self, now_s: float) -> bool:
        """Whether a replacement is allowed now, without waiting for a pause to end."""
        counted = self._counted(now_s)
        return len(counted) < AT_ONCE or now_s > counted[-1] + PAUSE_S

    def spend(self, now_s: float) -> None:
        """Counts a replacement."""
        self._at_s.append(now_s)

    def _counted(self, now_s: float) -> list[float]:
        self._at_s = [at_s for at_s in self._at_s if now_s < at_s + COUNT_FOR_S]
        return self._at_s
