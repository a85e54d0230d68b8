"""A task's events as a person reads them while they come."""

import json
from collections.abc import Iterator

from entrypoints.cli.sse import Event
from entrypoints.cli.terminal import Terminal


class Follower:
    """Shows events; text that comes a second time after a broken stream is shown once."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._shown = 0
        self._in_line = False
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
                self.task_id, self._shown = data["task_id"], 0
                self._end_line()
            case "text":
                self._text(data["text"], data.get("offset", self._shown))
            case "tool_call":
                self._line(f"-> {data.get('name', data.get('tool'))} {_short(data['arguments'])}")
            case "tool_result":
                self._line(f"<- {'failed' if data.get('is_error') else 'done'}")
            case "progress":
                self._line(f".. {data.get('progress')} {data.get('message') or ''}".rstrip())
            case "retry":
                self._line("the attempt failed and is made again")
            case "error":
                self._line(f"error: {data.get('message') or data.get('detail') or 'unknown'}")
            case _:
                self._end_line()

    def _text(self, text: str, offset: int) -> None:
        fresh = text[max(0, self._shown - offset) :]
        self._shown = max(self._shown, offset + len(text))
        if fresh:
            self._terminal.piece(fresh)
            self._in_line = not fresh.endswith("\n")

    def _line(self, text: str) -> None:
        self._end_line()
        self._terminal.complain(text)

    def _end_line(self) -> None:
        if self._in_line:
            self._terminal.say()
            self._in_line = False


def _short(arguments: object) -> str:
    text = json.dumps(arguments, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."  # noqa: PLR2004 - a line or two
