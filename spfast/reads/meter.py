"""How often a matrix that is larger than memory has been read, and how fast: what long runs cost."""

import threading

from spfast.progress import note

__all__ = ["METER", "Meter"]


class Meter:
    """Counts the parts that were read.

    Attributes
    ----------
    n_reads : float
        Reads of the whole matrix; part of it counts in proportion.
    n_bytes : int
    seconds : float
    """

    def __init__(self):
        self.n_reads, self.n_bytes, self.seconds, self._lock = 0.0, 0, 0.0, threading.Lock()

    def add(self, n_bytes: int, share: float, seconds: float, n_callers: int) -> None:
        """Count a part, which is a share of its matrix, and say so beside the bar that is shown."""
        with self._lock:
            self.n_reads += share
            self.n_bytes += n_bytes
            self.seconds += seconds
        note(f"{self}{f', for {n_callers} fits at once' if n_callers > 1 else ''}")

    def __str__(self):
        rate = self.n_bytes / self.seconds / 1e9 if self.seconds > 0 else 0.0
        return f"{self.n_reads:.1f} reads, {rate:.2f} GB/s"


#: Of this process.
METER = Meter()
