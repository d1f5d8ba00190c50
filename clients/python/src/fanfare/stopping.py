"""SIGTERM and SIGINT as a wish to stop. Deliberately no more than that: what stopping means the workers know."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Callable


@contextlib.contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first signal calls `stop`, which must be safe there. Afterwards signals do what they did before, so a second
    one usually ends the process. Does nothing outside of the main thread, where Python takes no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: it was set by something that isn't Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
