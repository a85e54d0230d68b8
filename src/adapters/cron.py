"""Times of cron expressions, by cronsim, which behaves as Debian's cron does."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from domain.model.schedules import CronInvalid

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_WORD = r"(?:[0-9]{1,2}|[A-Za-z]{3})"
_TERM = rf"(?:\*|{_WORD}(?:-{_WORD})?)(?:/[0-9]{{1,2}})?|{_WORD}#[1-5]|[0-7]L|LW?"
_FIELD = re.compile(rf"(?:{_TERM})(?:,(?:{_TERM}))*")
# The library breaks on some texts that are no fields, instead of refusing them.
_ANY = datetime(2026, 1, 1, tzinfo=UTC)


class CronCalendar:
    """Five fields, with names of months and days, and the last or n-th of a kind (`L`, `#`)."""

    grain = timedelta(minutes=1)

    def next_after(self, cron: str, timezone: str, after: datetime) -> datetime:
        zone = _zone(timezone)
        fields = _checked(cron)
        try:
            times = CronSim(" ".join(fields), after.astimezone(zone))
            for time in times:
                # In the hour that clocks repeat, its first pass may lie behind `after`.
                if time > after:
                    return time.astimezone(UTC)
        except CronSimError as error:
            raise CronInvalid(
                f"cron: day of month {fields[2]!r} is in none of the months {fields[3]!r}.",
                path="/cron",
            ) from error
        raise CronInvalid(f"cron: {cron!r} names no time within 50 years.", path="/cron")


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CronInvalid(
            f"timezone: {timezone!r} is no IANA name that this machine knows.", path="/timezone"
        ) from error


def _checked(cron: str) -> list[str]:
    """The five fields, each of which is right by itself."""
    fields = cron.split()
    if len(fields) != len(FIELDS):
        raise CronInvalid(
            f"cron: there are {len(fields)} fields; the five are {', '.join(FIELDS)}.",
            path="/cron",
        )
    for place, field in enumerate(fields):
        alone = ["*"] * len(FIELDS)
        alone[place] = field
        try:
            if _FIELD.fullmatch(field):
                CronSim(" ".join(alone), _ANY)
                continue
        except CronSimError:
            pass
        raise CronInvalid(f"cron: {field!r} is no {FIELDS[place]}.", path="/cron")
    return fields
