"""A watched task: its place in line, its progress, its attempts, over outages of the system."""

import io
from collections.abc import Callable

import pytest

from entrypoints.cli import client, follow, timeline, watch
from entrypoints.cli.follow import Follower
from entrypoints.cli.sse import Event
from entrypoints.cli.terminal import REWRITE, Terminal, fitted
from tests.cli.conftest import Command, Tty
from tests.cli.system import System, as_json, problem, stream

TASK = "GET /api/v1/tasks/t1"
EVENTS = f"{TASK}/events"
QUEUED = {"task_id": "t1", "status": "queued", "attempt": 0, "max_attempts": 3}
RUNNING = {**QUEUED, "status": "running", "attempt": 1}
ENDED = {
    **RUNNING,
    "status": "failed",
    "attempt": 2,
    "started_at": "2026-01-01T00:00:00Z",
    "finished_at": "2026-01-01T00:00:02.5Z",
    "error": {"reason": "tool-error", "message": "It broke."},
}
START = ("start", 1, {"task_id": "t1", "attempt": 1})
AGAIN = ("start", 4, {"task_id": "t1", "attempt": 2})
FAILED = ("error", 5, {"reason": "tool-error", "message": "It broke."})
STARTING = problem(503, "Not serving", "The system is starting.")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_S", 0.01)
    monkeypatch.setattr(client, "RECONNECT_PAUSE_S", 0.01)


def test_a_place_in_line_is_told_as_often_as_it_changes(command: Command, system: System) -> None:
    places = [as_json({**QUEUED, "queue_position": place}) for place in (3, 3, 1)]
    system.lay(TASK, *places, as_json(ENDED))
    system.lay(EVENTS, stream(START, AGAIN, FAILED))

    ran = command("tasks", "watch", "t1")

    assert ran.code == 1
    assert ran.err.splitlines() == [
        "queued, 3 in line",
        "queued, 1 in line",
        "attempt 1",
        "attempt 2",
        "error: It broke.",
        "t1: failed after 2.5 s at attempt 2 of 3: It broke.",
    ]


def test_a_task_that_waits_for_its_time_says_so(command: Command, system: System) -> None:
    later = {**QUEUED, "created_at": "2026-01-01T00:00:00Z", "run_at": "2026-01-02T00:00:00Z"}
    system.lay(TASK, as_json(later), as_json(ENDED))
    system.lay(EVENTS, stream(START, FAILED))

    assert command("tasks", "watch", "t1").err.startswith("queued until 2026-01-02T00:00:00Z\n")


def test_an_outage_is_told_once_and_outlasted(command: Command, system: System) -> None:
    system.lay(TASK, as_json(QUEUED), STARTING, STARTING, as_json(RUNNING), as_json(ENDED))
    first = stream(START, ("progress", 2, {"progress": 1.0}), cut=True)
    system.lay(EVENTS, first, STARTING, STARTING, stream(AGAIN, FAILED))

    ran = command("tasks", "watch", "t1")

    assert ran.err.splitlines()[:6] == [
        "queued",
        follow.AWAY,
        "attempt 1",
        ".. 1",
        follow.AWAY,
        "attempt 2",
    ]
    streams = [asked for asked in system.asked if asked.target.endswith("/events")]
    resumed = [asked.headers.get("last-event-id") for asked in streams]
    assert resumed == [None, "2", "2", "2"]


def test_an_outage_without_end_fails_the_command(
    command: Command, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "AWAY_S", 0.05)
    system.lay(TASK, as_json(RUNNING))
    system.lay(EVENTS, stream(START, cut=True), STARTING)

    ran = command("tasks", "watch", "t1")

    assert ran.code == 1
    assert ran.err.endswith("error: Not serving: The system is starting.\n")


def test_a_task_that_does_not_exist_is_not_waited_for(command: Command, system: System) -> None:
    system.lay(TASK, problem(404, "Task not found", "There is no task 't1'."))

    for words in (("tasks", "watch", "t1"), ("tasks", "watch", "t1", "--json")):
        assert command(*words).err == "error: Task not found: There is no task 't1'.\n"


Screen = tuple[Follower, Callable[[], str]]


@pytest.fixture
def screen() -> Screen:
    """A follower on a terminal, and what the terminal was sent."""
    both = Tty()
    return Follower(Terminal(both, both, io.StringIO())), both.getvalue


def test_progress_on_a_terminal_is_one_line_that_is_rewritten(screen: Screen) -> None:
    follower, sent = screen
    for kind, data in (
        ("start", {"task_id": "t1", "attempt": 1}),
        ("progress", {"progress": 1.0, "total": 4.0, "message": "one\ntwo"}),
        ("progress", {"progress": 4.0, "total": 4.0}),
        ("text", {"text": "Hel", "offset": 0}),
        ("progress", {"progress": 4.0, "total": 4.0}),
        ("text", {"text": "lo", "offset": 3}),
        ("done", {}),
    ):
        follower.show(Event(kind, data, "1"))

    assert sent() == (
        f"attempt 1\n{REWRITE}under way ..."
        f"{REWRITE}[#####...............] 25 % (1 of 4) one two"
        f"{REWRITE}[####################] 100 % (4 of 4)"
        f"{REWRITE}Hello\n"
    )


def test_a_line_that_is_rewritten_never_wraps() -> None:
    assert fitted("abc", 3) == "abc"
    assert fitted("abcd", 3) == "abc"
    assert fitted("日本語", 5) == "日本"


def test_reports_in_a_file_are_a_second_apart(command: Command, system: System) -> None:
    system.lay(TASK, as_json(ENDED))
    reports = [("progress", 2 + done, {"progress": float(done)}) for done in range(50)]
    system.lay(EVENTS, stream(START, *reports, FAILED))

    assert command("tasks", "watch", "t1").err.count("..") < 25


def event(number: int, attempt: int, kind: str, at: float, **data: object) -> timeline.Event:
    moment = f"2026-01-01T00:00:{at:09.6f}Z"
    return {"id": number, "attempt": attempt, "event": kind, "at": moment, "data": data}


EVENTS_OF_A_TURN = [
    event(1, 1, "start", 0),
    event(2, 1, "text", 0.25, text="Let me ", offset=0),
    event(3, 1, "text", 0.5, text="see.", offset=7),
    event(4, 1, "step", 0.5, messages=[], input_tokens=7, output_tokens=3),
    event(5, 1, "tool_call", 0.75, name="files__read", arguments={"path": "x" * 200}),
    event(6, 2, "start", 10),
    event(7, 2, "tool_call", 10, server="files", tool="read", arguments={}),
    event(8, 2, "progress", 10.5, progress=1, total=2, message="half"),
    event(9, 2, "progress", 11, progress=2, total=2, message=None),
    event(10, 2, "step", 11, messages=[], input_tokens=0, output_tokens=0),
    event(11, 2, "tool_result", 11, name="files__read", is_error=True),
    event(12, 2, "retry", 11.5, reason="The model is busy.", delay_s=4.0),
    event(13, 3, "start", 16),
    event(14, 3, "error", 16.5, reason="deadline", message="Too late."),
]


def test_a_timeline_tells_what_happened_when() -> None:
    began = EVENTS_OF_A_TURN[0]["at"]
    told = [
        (moment.attempt, moment.after, moment.what)
        for moment in timeline.moments(EVENTS_OF_A_TURN, began)
    ]
    assert told == [
        (1, "+0.000 s", "started"),
        (1, "+0.500 s", 'said "Let me see."'),
        (1, "+0.500 s", "the model: 7 tokens in, 3 out"),
        (1, "+0.750 s", f'called files__read {{"path": "{"x" * 87}...'),
        (2, "+10.000 s", "started"),
        (2, "+10.000 s", "called files/read {}"),
        (2, "+11.000 s", "progress 100 % (2 of 2)"),
        (2, "+11.000 s", "failure of files__read"),
        (
            2,
            "+11.500 s",
            "the attempt failed and is made again in 4 s: The model is busy.",
        ),
        (3, "+16.000 s", "started"),
        (3, "+16.500 s", "deadline: Too late."),
    ]


def test_each_attempt_says_how_it_went() -> None:
    assert [
        (attempt.number, attempt.took, attempt.ended)
        for attempt in timeline.attempts(EVENTS_OF_A_TURN)
    ] == [
        (1, "-", "lost with its worker, or handed back by it"),
        (2, "1.500 s", "failed, to be made again: The model is busy."),
        (3, "0.500 s", "ended: deadline"),
    ]
    under_way = list(timeline.attempts(EVENTS_OF_A_TURN[:3]))
    assert [(attempt.took, attempt.ended) for attempt in under_way] == [("-", "under way")]
    early = event(1, 0, "error", 1, reason="cancelled", message="Cancelled.")
    assert list(timeline.attempts([early])) == []


def test_a_task_is_shown_with_its_attempts_and_events(command: Command, system: System) -> None:
    system.lay(TASK, as_json({**ENDED, "created_at": "2026-01-01T00:00:00Z"}))
    system.lay(f"{TASK}/history", as_json({"events": EVENTS_OF_A_TURN, "next_cursor": None}))

    shown = command("tasks", "show", "t1").out

    assert "3        2026-01-01T00:00:16.000000Z  0.500 s  ended: deadline" in shown
    assert "3        +16.500 s  deadline: Too late." in shown
