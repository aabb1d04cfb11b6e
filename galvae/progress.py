"""Progress on standard error: a bar on a terminal, plain lines at intervals elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType


def say(text: str, *, quiet: bool = False) -> None:
    """One line to standard error, where progress, warnings and remarks belong."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


class Progress:
    """Count something towards a total, showing rate and time left.

    Parameters
    ----------
    label
        What is being done.
    total
        How many there are.
    quiet
        Show nothing.
    every
        Seconds between plain lines where standard error is not a terminal.
    done
        How many were done before; they do not count for the rate.
    """

    def __init__(self, label: str, total: int, *, quiet: bool = False, every: float = 10.0, done: int = 0) -> None:
        self.label, self.total, self.quiet, self.every = label, total, quiet, every
        self.done = self._before = done
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        self._start = self._shown = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        if self._terminal and not self.quiet:
            print(file=sys.stderr)

    def row(self, text: str) -> None:
        """A line that stays, above the bar."""
        if not self.quiet:
            print(f"\r\x1b[K{text}" if self._terminal else text, file=sys.stderr, flush=True)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that `count` more are done; `note` is shown behind the figures."""
        self.done += count
        now = time.monotonic()
        if self.quiet or (now - self._shown < (0.1 if self._terminal else self.every) and self.done < self.total):
            return
        self._shown = now
        rate = (self.done - self._before) / max(now - self._start, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else float("inf")
        text = f"{self.label}: {self.done}/{self.total}, {rate:.1f}/s, {_duration(left)} left"
        text += f", {note}" if note else ""
        print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n",
              file=sys.stderr, flush=True)  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
