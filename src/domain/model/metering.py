"""What a server uses over time, and when that is too much; whoever runs it brings the samples."""

from domain.model.servers import Limits, Usage

RATE_WINDOW_S = 10.0
# A start or one heavy call may use all there is for some seconds; a rate is over a while.


class Meter:
    """The use of one server."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float, int]] = []
        self.usage: Usage | None = None

    def take(
        self, now_s: float, *, cpu_s: float, written: int, memory_bytes: int, processes: int
    ) -> Usage:
        """Take one sample; rates are over the window's.

        `cpu_s` is all processor time so far, and `written` all bytes of output.
        """
        self._samples.append((now_s, cpu_s, written))
        while now_s - self._samples[0][0] > RATE_WINDOW_S:
            del self._samples[0]
        begun, cpu_before, written_before = self._samples[0]
        seconds = now_s - begun or 1.0
        self.usage = Usage(
            memory_bytes=memory_bytes,
            processes=processes,
            cpu_percent=round(max(0, cpu_s - cpu_before) / seconds * 100, 1),
            output_mb_per_s=round((written - written_before) / 1e6 / seconds, 3),
        )
        return self.usage

    @property
    def settled(self) -> bool:
        """Whether the samples cover the window, so that a rate means something."""
        return self._samples[-1][0] - self._samples[0][0] > RATE_WINDOW_S * 0.8


def excess(usage: Usage, limits: Limits, *, settled: bool) -> str:
    """Which limit is exceeded and by what, empty where none is."""
    memory_mb = usage.memory_bytes / 1e6
    if limits.memory_mb is not None and memory_mb > limits.memory_mb:
        return f"it used {memory_mb:.0f} MB of memory, over its limit of {limits.memory_mb} MB"
    if limits.processes is not None and usage.processes > limits.processes:
        return f"it ran {usage.processes} processes, over its limit of {limits.processes}"
    if limits.cpu_percent is not None and settled and usage.cpu_percent > limits.cpu_percent:
        return (
            f"it used {usage.cpu_percent:.0f} % of a core for {RATE_WINDOW_S:g} s, "
            f"over its limit of {limits.cpu_percent:g} %"
        )
    most = limits.output_mb_per_s
    if most is not None and settled and usage.output_mb_per_s > most:
        return (
            f"it wrote {usage.output_mb_per_s:g} MB/s for {RATE_WINDOW_S:g} s, "
            f"over its limit of {most:g} MB/s"
        )
    return ""
