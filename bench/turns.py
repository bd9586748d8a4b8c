"""Times calls that take turns, so that changes in the machine's speed affect all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def medians(
    subjects: dict[str, Callable[[], object]], turns: int, calls: int = 1, pause: float = 0.0
) -> dict[str, float]:
    """Seconds per call of each subject: the median of `turns` turns of `calls` calls. After a pause comes one untimed call:
    by then, the previous subject's threads no longer spin while they wait for work, and its own are awake."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(turns + 3):
        for name, call in subjects.items():
            if pause > 0:
                time.sleep(pause)
                call()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            if turn >= 3:  # the first ones warm up
                times[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(taken) for name, taken in times.items()}
