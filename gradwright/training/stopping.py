"""Ctrl-C as a request: the loop ends its piece, saves and stops; a second Ctrl-C stops at once.

So do a polite kill and a terminal that goes away. A signal that is ignored, as `nohup` and a shell
in the background ask for, stays ignored. Stopping inside a step would leave parameters half
updated, and so no checkpoint worth keeping.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@dataclass(slots=True)
class StopRequest:
    """Whether somebody has asked the run to stop."""

    requested: bool = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """`with stoppable() as stop:` then look at `stop.requested` between pieces of work."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set handlers; elsewhere the caller keeps its own.
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    # None: a handler that is not Python's, which could not be put back.
    heard = {n: h for n, h in previous.items() if h not in (signal.SIG_IGN, None)}
    for number in heard:
        signal.signal(number, stop.on_signal)
    try:
        yield stop
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
