"""The command line as an HTTP client of a running system."""

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from domain.errors import Failure, Unavailable
from entrypoints.cli.context import WrongUsage
from entrypoints.cli.sse import Event, events
from entrypoints.settings.parsing import is_loopback

DEFAULT_URL = "http://127.0.0.1:10010"
TIMEOUT_S = 30.0
# Every answer but a tool's and a stream's comes at once.
KEEP_ALIVE_MISSED_S = 45.0
# The system writes to a silent stream every 15 seconds.
AWAY_S = 60.0
RECONNECT_PAUSE_S = 1.0
# A stopping system drains for some seconds, and a start takes some more.
PAGE = 200
UNAUTHORIZED = 401
SERVICE_UNAVAILABLE = 503
BROKEN_JSON = "broken JSON"
# Stands for the media type of an answer that says JSON and is none.


class Refused(Failure):
    """The system answered with a problem; the message is its title and detail."""


class Busy(Refused):
    """The system cannot serve now: it is starting, stopping or full."""


class NoAnswer(Unavailable):
    """Nothing that speaks as this system answers at the address."""


class Client:
    """One connection to a system; a context manager."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise WrongUsage("The address of a system starts with http:// or https://.")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise WrongUsage("SUTAZAI_API_KEY must be one line of visible ASCII text.")
        self._url = url.rstrip("/")
        self._http = httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=TIMEOUT_S,
            # A proxy of the environment cannot reach this machine's own loopback.
            trust_env=not is_loopback(parts.hostname),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def ask(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        """The JSON of an answer, None where it has no body.

        Raises:
            Refused: The answer is a problem.
            NoAnswer: There is no answer, or it is not this system's.
        """
        try:
            response = self._http.request(
                method,
                self._url + path,
                json=body,
                params=_given(query),
                headers=headers,
                timeout=timeout_s,
            )
        except httpx.TransportError as error:
            raise self._no_answer(error) from error
        return self._json(response)

    def pages(self, path: str, noun: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A whole list: the last answer with the items of all parts under `noun`."""
        items: list[Any] = []
        cursor = None
        while True:
            answer = self.ask("GET", path, query={**(query or {}), "limit": PAGE, "cursor": cursor})
            items.extend(answer[noun])
            cursor = answer.get("next_cursor")
            if cursor is None:
                return {**answer, noun: items}

    def follow(
        self, method: str, path: str, body: Any = None, away: Callable[[], None] = lambda: None
    ) -> Iterator[Event]:
        """A task's events up to its last one; a stream that breaks off is taken up again.

        Where to take it up is known from the first event, or is `path` itself for a GET. Text
        may come a second time then: its `offset` says what is known already. `away` is called
        once each time that the system does not answer; after AWAY_S without it NoAnswer is raised.
        """
        resume = path if method == "GET" else None
        last_id, until, again = None, None, False
        while True:
            try:
                for event in self._stream(method, path, body, last_id):
                    last_id = event.id
                    if event.kind == "start":
                        resume = f"/api/v1/tasks/{segment(event.data['task_id'])}/events"
                    if event.kind == "shutdown":
                        break
                    until, again = None, False
                    yield event
                else:
                    return
            except (NoAnswer, Busy):
                if resume is None or (until is not None and time.monotonic() > until):
                    raise
            if resume is None:
                raise NoAnswer(f"The system at {self._url} stopped before it began.")
            method, path, body = "GET", resume, None
            if again and until is None:
                until = time.monotonic() + AWAY_S
                away()
            if again:
                time.sleep(RECONNECT_PAUSE_S)
            again = True

    def status_of(self, path: str, query: Mapping[str, Any] | None = None) -> tuple[int, str, Any]:
        """Status, media type and JSON (None for other types) of an answer, whatever it says.

        Of an event stream only the head is read.
        """
        try:
            with self._http.stream("GET", self._url + path, params=_given(query)) as response:
                media_type = response.headers.get("content-type", "").partition(";")[0]
                if not media_type.endswith("json"):
                    return response.status_code, media_type, None
                response.read()
                return response.status_code, media_type, response.json()
        except httpx.TransportError as error:
            raise self._no_answer(error) from error
        except ValueError:
            return response.status_code, BROKEN_JSON, None

    def _stream(self, method: str, path: str, body: Any, last_id: str | None) -> Iterator[Event]:
        headers = {} if last_id is None else {"last-event-id": last_id}
        try:
            with self._http.stream(
                method,
                self._url + path,
                json=body,
                headers=headers,
                timeout=httpx.Timeout(TIMEOUT_S, read=KEEP_ALIVE_MISSED_S),
            ) as response:
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    response.read()
                    self._json(response)
                    raise NoAnswer(f"{self._url} answered with something else than a stream.")
                yield from events(response.iter_bytes(), last_id)
        except httpx.TransportError as error:
            raise self._no_answer(error) from error

    def _json(self, response: httpx.Response) -> Any:
        try:
            value = response.json() if response.content else None
        except ValueError:
            value = None
        if response.is_success:
            if value is None and response.content:
                raise NoAnswer(f"What answers at {self._url} is not SutazAI.")
            return value
        if isinstance(value, dict) and "title" in value:
            kind = Busy if response.status_code == SERVICE_UNAVAILABLE else Refused
            message = f"{value['title']}: {value.get('detail', '')}"
            if response.status_code == UNAUTHORIZED:
                message += " Commands take the key from SUTAZAI_API_KEY."
            raise kind(message, status=response.status_code)
        raise Refused(
            f"HTTP {response.status_code} {response.reason_phrase}", status=response.status_code
        )

    def _no_answer(self, error: httpx.TransportError) -> NoAnswer:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return NoAnswer(
                f"Nothing answers at {self._url}: start the system with `sutazai serve`, or name "
                "another address with --url or SUTAZAI_URL."
            )
        if isinstance(error, httpx.TimeoutException):
            return NoAnswer(f"{self._url} took too long to answer.")
        return NoAnswer(f"The connection to {self._url} broke.")


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


def _given(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}
