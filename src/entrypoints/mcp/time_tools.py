"""Tools that know the time: now, elsewhere, and between."""

from datetime import UTC, datetime, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from entrypoints.mcp.tool_table import Run, Tool, ToolMistake

STEP_S = 0.2
# Often enough for a progress bar that moves, seldom enough to be no load.

ZoneName = Annotated[
    str, msgspec.Meta(description="IANA time zone, for example Europe/Berlin or UTC")
]
Moment = Annotated[
    str,
    msgspec.Meta(
        description="ISO 8601 date and time, for example 2026-03-01T14:30:00+01:00; "
        "without an offset it is taken as UTC"
    ),
]


class CurrentTime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `current_time`."""

    timezone: ZoneName = "UTC"


class ConvertTime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `convert_time`."""

    time: Annotated[
        str,
        msgspec.Meta(
            description="Local date and time in ISO 8601 without an offset, for example "
            "2026-03-01T14:30, or a time of today such as 14:30"
        ),
    ]
    from_timezone: ZoneName
    to_timezone: ZoneName


class TimeDifference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `time_difference`."""

    start: Moment
    end: Moment


class Wait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `wait`."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=60, description="How long, up to 60 seconds")]


class LocalTime(msgspec.Struct, frozen=True, kw_only=True):
    """A moment as a clock in its zone shows it."""

    timezone: str
    datetime: str
    weekday: str
    utc_offset: str
    dst: bool


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """The same moment in two zones; the difference is how far the second is ahead."""

    source: LocalTime
    target: LocalTime
    difference_hours: float


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """From start to end, negative where the end is earlier; the parts are of its size."""

    total_seconds: float
    days: int
    hours: int
    minutes: int
    seconds: float


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """The wait is over."""

    seconds: float


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolMistake(f"Unknown time zone: {name}. Use an IANA name, such as UTC.") from None


def _shown(moment: datetime, zone: str) -> LocalTime:
    shown = moment.isoformat(timespec="seconds")
    return LocalTime(
        timezone=zone,
        datetime=shown,
        weekday=moment.strftime("%A"),
        utc_offset=shown[len("2026-03-01T14:30:00") :],
        dst=bool(moment.dst()),
    )


def _current_time(given: CurrentTime, _: Run) -> LocalTime:
    return _shown(datetime.now(_zone(given.timezone)), given.timezone)


def _local(text: str, zone: tzinfo) -> datetime:
    try:
        clock_only = "T" not in text and ":" in text and "-" not in text
        today = datetime.now(zone).date().isoformat()
        moment = datetime.fromisoformat(f"{today}T{text}" if clock_only else text)
    except ValueError:
        raise ToolMistake(f"Not an ISO 8601 date and time: {text}") from None
    if moment.tzinfo is not None:
        raise ToolMistake("The time must have no offset of its own: from_timezone gives it.")
    return moment.replace(tzinfo=zone)


def _convert_time(given: ConvertTime, _: Run) -> Converted:
    source_zone, target_zone = _zone(given.from_timezone), _zone(given.to_timezone)
    source = _local(given.time, source_zone)
    try:
        target = source.astimezone(target_zone)
        there_and_back = source.astimezone(UTC).astimezone(source_zone)
    except OverflowError:
        raise ToolMistake("That date is out of range.") from None
    if there_and_back.replace(tzinfo=None) != source.replace(tzinfo=None):
        raise ToolMistake(
            f"{given.time} does not exist in {given.from_timezone}: clocks skip over it that day."
        )
    ahead = target.replace(tzinfo=None) - source.replace(tzinfo=None)
    return Converted(
        source=_shown(source, given.from_timezone),
        target=_shown(target, given.to_timezone),
        difference_hours=ahead.total_seconds() / 3600,
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ToolMistake(f"Not an ISO 8601 date and time: {text}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _time_difference(given: TimeDifference, _: Run) -> Difference:
    between = _moment(given.end) - _moment(given.start)
    size = abs(between)
    minutes, seconds = divmod(size.seconds, 60)
    return Difference(
        total_seconds=between.total_seconds(),
        days=size.days,
        hours=minutes // 60,
        minutes=minutes % 60,
        seconds=seconds + size.microseconds / 1_000_000,
    )


def _wait(given: Wait, run: Run) -> Waited:
    passed = 0.0
    while passed < given.seconds and not run.cancelled.is_set():
        step = min(STEP_S, given.seconds - passed)
        run.cancelled.wait(step)
        passed += step
        run.report(passed, given.seconds, f"{passed:.1f} of {given.seconds:.1f} s")
    return Waited(seconds=given.seconds)


TIME_TOOLS = (
    Tool(
        name="current_time",
        title="Current time",
        description="The current date and time in a time zone, with weekday and UTC offset.",
        arguments=CurrentTime,
        gives=LocalTime,
        run=_current_time,
    ),
    Tool(
        name="convert_time",
        title="Convert time",
        description="What the clock shows in one time zone when it shows a given time in another.",
        arguments=ConvertTime,
        gives=Converted,
        run=_convert_time,
    ),
    Tool(
        name="time_difference",
        title="Time difference",
        description="How much time lies between two moments, in seconds and in parts.",
        arguments=TimeDifference,
        gives=Difference,
        run=_time_difference,
    ),
    Tool(
        name="wait",
        title="Wait",
        description="Wait for a number of seconds, with reports of progress; can be cancelled.",
        arguments=Wait,
        gives=Waited,
        run=_wait,
        slow=True,
        # It is there to try out slow calls, and what becomes of those that must not be repeated.
        repeatable=False,
    ),
)
