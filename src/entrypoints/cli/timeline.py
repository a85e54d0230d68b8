"""What happened in a task, attempt by attempt, as a person reads it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

Event = Mapping[str, Any]
MOST_SHOWN = 100
# Characters of a text or of a call's arguments on one line.
MERGED = frozenset({"text", "progress"})
# They come several times a second; a run of them is one line.


class Attempt(NamedTuple):
    """One attempt: when it began, how long it took, and how it ended."""

    number: int
    started_at: str
    took: str
    ended: str


class Moment(NamedTuple):
    """Something that happened; `after` is the time since the task began."""

    attempt: int
    after: str
    what: str


def attempts(events: Sequence[Event]) -> Iterator[Attempt]:
    """The attempts in order; the last one may still be under way."""
    groups = [list(group) for _, group in groupby(events, lambda event: event["attempt"])]
    for place, group in enumerate(groups):
        first, last = group[0], group[-1]
        if not first["attempt"]:
            continue  # cancelled before any attempt
        ended, data = last["event"] in _ENDS, last["data"]
        if ended:
            how = _ENDS[last["event"]].format(data.get("reason") or "")
        elif place + 1 < len(groups):
            how = "lost with its worker, or handed back by it"
        else:
            how = "under way"
        took = seconds(first["at"], last["at"]) if ended else "-"
        yield Attempt(first["attempt"], first["at"], took, how)


_ENDS = {
    "done": "succeeded",
    "error": "ended: {}",
    "retry": "failed, to be made again: {}",
    "decision": "waits for a decision",
}


def moments(events: Iterable[Event], began: str) -> Iterator[Moment]:
    """What happened, in order; runs of text and of progress are one moment each."""
    told = (event for event in events if not _inner(event))
    for _, group in groupby(told, _run):
        run = list(group)
        yield Moment(run[-1]["attempt"], f"+{seconds(began, run[-1]['at'])}", _told(run))


def _inner(event: Event) -> bool:
    """A step that only puts a tool's answer into the turn's history."""
    data = event["data"]
    return event["event"] == "step" and not (data["input_tokens"] or data["output_tokens"])


def _run(event: Event) -> tuple[Any, ...]:
    kind = event["event"]
    return (event["attempt"], kind) if kind in MERGED else (event["attempt"], kind, event["id"])


def _told(run: Sequence[Event]) -> str:  # noqa: PLR0911 - one line a kind of event
    kind, data = run[-1]["event"], run[-1]["data"]
    match kind:
        case "start":
            return "started"
        case "text":
            return f"said {short(''.join(event['data']['text'] for event in run))}"
        case "step":
            return f"the model: {data['input_tokens']} tokens in, {data['output_tokens']} out"
        case "tool_call":
            return f"called {name_of(data)} {short(data['arguments'])}"
        case "tool_result":
            failed = "failure" if data.get("is_error") else "answer"
            return f"{failed} of {name_of(data)}"
        case "progress":
            return f"progress {progress(data)}"
        case "retry":
            return retry(data)
        case "done":
            return "succeeded"
        case "error":
            return f"{data.get('reason') or 'error'}: {data.get('message') or 'unknown'}"
        case _:
            return f"{kind} {short(data)}"


def name_of(call: Mapping[str, Any]) -> str:
    """The tool that was called."""
    if call.get("name"):
        return str(call["name"])
    return f"{call['server']}/{call['tool']}" if call.get("server") else str(call.get("tool"))


def progress(data: Mapping[str, Any]) -> str:
    """How far the work is: `40 % (2 of 5) message`, or its own number where no end is known."""
    done, total, message = data.get("progress"), data.get("total"), data.get("message") or ""
    if not done and not total:
        return message or "0"
    done = done or 0
    far = f"{100 * done / total:.0f} % ({done:g} of {total:g})" if total else f"{done:g}"
    return f"{far} {message}".rstrip()


def retry(data: Mapping[str, Any]) -> str:
    """Why an attempt failed, and when the next one comes."""
    after = f" in {data['delay_s']:g} s" if data.get("delay_s") is not None else ""
    reason = f": {data['reason']}" if data.get("reason") else ""
    return f"the attempt failed and is made again{after}{reason}"


def short(value: object) -> str:
    """A value on one line, its end cut off where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def seconds(since: str, until: str) -> str:
    """The time between two instants."""
    return f"{between(since, until):.3f} s"


def between(since: str, until: str) -> float:
    """The seconds between two instants in RFC 3339."""
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
