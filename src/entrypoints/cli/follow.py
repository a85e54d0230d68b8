"""A task's events as a person reads them while they come."""

import time
from collections.abc import Iterator

from entrypoints.cli import timeline
from entrypoints.cli.sse import Event
from entrypoints.cli.terminal import Terminal

BAR = 20
# Characters of a bar: one for each twentieth.
REPORT_EVERY_S = 1.0
# Reports come several times a second; a file needs no more lines than this.


AWAY = "the system does not answer; this goes on once it does ..."


class Follower:
    """Shows events; text that comes a second time after a broken stream is shown once.

    How far the work is stands in one line that is rewritten in place, on a terminal; elsewhere
    each report is a line. Of a chat the first attempt goes without saying.
    """

    def __init__(self, terminal: Terminal, *, chat: bool = False) -> None:
        self._terminal = terminal
        self._chat = chat
        self._attempt = 0
        self._shown = 0
        self._in_line = False
        self._reported = -REPORT_EVERY_S
        self.task_id: str | None = None

    def show_all(self, events: Iterator[Event]) -> Event | None:
        """Show every event; return the last, None where there was none."""
        event = None
        for event in events:
            self.show(event)
        self._end_line()
        return event

    def show(self, event: Event) -> None:
        """Show one event."""
        data = event.data
        match event.kind:
            case "start":
                self._start(data["task_id"], data.get("attempt", 1))
            case "text":
                self._text(data["text"], data.get("offset", self._shown))
            case "tool_call":
                arguments = timeline.short(data["arguments"])
                self.tell(f"-> {timeline.name_of(data)} {arguments}")
                self.status(f"calling {timeline.name_of(data)} ...")
            case "tool_result":
                self.tell(f"<- {'failed' if data.get('is_error') else 'done'}")
            case "progress":
                self._progress(data)
            case "retry":
                self.tell(timeline.retry(data))
                self.status("waiting for the next attempt ...")
            case "decision":
                self.tell("a person must decide how it goes on: `sutazai tasks show` tells more")
            case "error":
                self.tell(f"error: {data.get('message') or data.get('detail') or 'unknown'}")
            case _:
                self._end_line()

    def away(self) -> None:
        """Say that the system does not answer, and that this is not the end."""
        if self._terminal.rewritable:
            self.tell(AWAY)
        else:
            self._terminal.complain(AWAY)  # the text goes on in its line

    def tell(self, text: str) -> None:
        """A line beside the text."""
        self._end_line()
        self._terminal.complain(text)

    def status(self, text: str) -> None:
        """A line that the next one takes the place of."""
        if not self._in_line:
            self._terminal.status(text)

    def _start(self, task_id: str, attempt: int) -> None:
        self._end_line()
        if attempt != self._attempt and (attempt > 1 or not self._chat):
            self.tell(f"attempt {attempt}")
        if attempt != self._attempt:
            self._shown = 0
        self.task_id, self._attempt = task_id, attempt
        self.status("under way ...")

    def _text(self, text: str, offset: int) -> None:
        fresh = text[max(0, self._shown - offset) :]
        self._shown = max(self._shown, offset + len(text))
        if fresh:
            self._terminal.piece(fresh)
            self._in_line = not fresh.endswith("\n")

    def _progress(self, data: dict[str, float]) -> None:
        far = timeline.progress(data)
        if not self._terminal.rewritable:
            self._report(far)
            return
        total = data.get("total")
        if total:
            full = round(BAR * min(1.0, data["progress"] / total))
            far = f"[{'#' * full}{'.' * (BAR - full)}] {far}"
        self.status(far)

    def _report(self, far: str) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY_S:
            self._reported = now
            self.tell(f".. {far}")

    def _end_line(self) -> None:
        if self._in_line:
            self._terminal.say()
            self._in_line = False
