"""Answers that come piece by piece: chat and watched tasks."""

import json

from entrypoints.cli.sse import events
from tests.cli.conftest import Command
from tests.cli.system import System, as_json, problem, stream

START = ("start", 1, {"task_id": "t1"})
DONE = ("done", 9, {"status": "succeeded", "result": {"conversation_id": "c1"}})
CHAT = "POST /api/v1/chat/stream"
EVENTS = "GET /api/v1/tasks/t1/events"
SUCCEEDED = {"task_id": "t1", "status": "succeeded", "result": {"content": [{"text": "r"}]}}


def text(words: str, offset: int, number: int | None = None) -> tuple[str, int | None, dict]:  # type: ignore[type-arg]
    return "text", number, {"text": words, "offset": offset}


def test_an_answer_is_shown_as_it_comes(command: Command, system: System) -> None:
    call = ("tool_call", 3, {"name": "files__read", "arguments": {"path": "x"}})
    answered = ("tool_result", 4, {"is_error": False})
    system.lay(CHAT, stream(START, text("Let me ", 0), text("see.", 7, 2), call, answered,
                            text("Done", 11), DONE))  # fmt: skip

    ran = command("chat", "Hello", "--agent", "a", "--model", "m")

    assert ran.code == 0
    assert ran.out == "Let me see.\nDone\n"
    assert ran.err == '-> files__read {"path": "x"}\n<- done\n'
    assert system.asked[0].body == {"message": "Hello", "agent": "a", "model": "m"}


def test_a_message_may_come_from_standard_input(command: Command, system: System) -> None:
    system.lay(CHAT, stream(START, DONE))

    assert command("chat", "--conversation", "c1", said="Hello\nthere\n").code == 0
    assert system.asked[0].body == {"message": "Hello\nthere\n", "conversation_id": "c1"}


def test_a_talk_stays_in_its_conversation(command: Command, system: System) -> None:
    system.lay(CHAT, stream(START, text("Hi.", 0), DONE))

    ran = command("chat", said="one\n\ntwo\n", tty=True)

    assert ran.code == 0
    assert ran.out == "> Hi.\n> > Hi.\n> \n"
    assert [asked.body for asked in system.asked] == [
        {"message": "one"},
        {"message": "two", "conversation_id": "c1"},
    ]


def test_an_answer_that_fails_fails_the_command(command: Command, system: System) -> None:
    system.lay(CHAT, stream(START, ("error", 2, {"reason": "unavailable", "message": "No model."})))

    assert command("chat", "Hello") == (1, "", "error: No model.\n")


def test_a_refused_message_is_not_sent_again(command: Command, system: System) -> None:
    system.lay(CHAT, problem(503, "Not serving", "The system is starting."))

    ran = command("chat", "Hello")

    assert ran == (1, "", "error: Not serving: The system is starting.\n")
    assert len(system.asked) == 1


def test_chat_for_programs_is_one_answer(command: Command, system: System) -> None:
    system.lay("POST /api/v1/chat", as_json({"response": "Hi."}))

    assert json.loads(command("chat", "Hello", "--json").out) == {"response": "Hi."}


def test_a_broken_stream_is_taken_up_and_no_text_is_shown_twice(
    command: Command, system: System
) -> None:
    system.lay(CHAT, stream(START, text("One ", 0, 2), text("two", 4), cut=True))
    system.lay(
        EVENTS,
        stream(text("two thr", 4, 3), ("shutdown", None, {"resume": "x"})),
        problem(503, "Not serving", "The system is starting."),
        stream(text("ee.", 11, 4), DONE),
    )

    ran = command("chat", "Hello")

    assert (ran.code, ran.out) == (0, "One two three.\n")
    resumed = [asked.headers.get("last-event-id") for asked in system.asked]
    assert resumed == [None, "2", "3", "3"]


def test_a_new_attempt_says_its_text_anew(command: Command, system: System) -> None:
    retry = ("retry", 3, {"delay_s": 2.0, "reason": "No."})
    again = ("start", 4, {"task_id": "t1", "attempt": 2})
    system.lay(CHAT, stream(START, text("Hal", 0, 2), retry, again, text("Hi", 0), DONE))

    ran = command("chat", "Hello")

    assert ran.out == "Hal\nHi\n"
    assert ran.err == "the attempt failed and is made again in 2 s: No.\nattempt 2\n"


def test_a_task_is_watched_to_its_end(command: Command, system: System) -> None:
    system.lay(EVENTS, stream(START, ("progress", 2, {"progress": 1, "message": "half"}), DONE))
    system.lay("GET /api/v1/tasks/t1", as_json(SUCCEEDED))

    said = "attempt 1\n.. 1 half\nt1: succeeded\n"
    assert command("tasks", "watch", "t1") == (0, "r\n", said)


def test_a_watched_task_that_fails_fails_the_command(command: Command, system: System) -> None:
    system.lay(EVENTS, stream())
    system.lay("GET /api/v1/tasks/t1", as_json({**SUCCEEDED, "status": "failed", "result": None}))

    assert command("tasks", "watch", "t1").code == 1


def test_events_for_programs_are_one_a_line(command: Command, system: System) -> None:
    system.lay("GET /api/v1/tasks/t1", as_json(SUCCEEDED))
    system.lay(EVENTS, stream(START, DONE))

    ran = command("tasks", "watch", "t1", "--json")

    assert [json.loads(line)["event"] for line in ran.out.splitlines()] == ["start", "done"]


def test_submitted_work_may_be_waited_for(command: Command, system: System) -> None:
    system.lay("POST /api/v1/tasks", as_json({"task_id": "t1", "status": "queued"}, 201))
    system.lay(EVENTS, stream(START, DONE))
    system.lay("GET /api/v1/tasks/t1", as_json(SUCCEEDED))

    plain = command("tasks", "submit", "tool", "files", "read", "--wait")
    for_programs = command("tasks", "submit", "tool", "files", "read", "--wait", "--json")

    assert (plain.code, plain.out) == (0, "r\n")
    assert json.loads(for_programs.out) == SUCCEEDED


def test_events_are_divided_at_line_ends_only() -> None:
    frame = 'event: text\r\nid: 7\r\ndata: {"text":\ndata: "a\u2028b\x85"}\n\n: note\n\ndata: 1\n'

    parsed = list(events([bytes([byte]) for byte in frame.encode()]))

    assert parsed == [("text", {"text": "a\u2028b\x85"}, "7")]
