"""The times of cron expressions, as Debian's cron has them."""

from datetime import UTC, datetime

import pytest

from adapters.cron import CronCalendar
from domain.model.schedules import CronInvalid

BERLIN = "Europe/Berlin"
# Clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.


def times(cron: str, after: str, timezone: str = "UTC", count: int = 3) -> list[str]:
    calendar, at, found = CronCalendar(), datetime.fromisoformat(f"{after}:00+00:00"), []
    for _ in range(count):
        at = calendar.next_after(cron, timezone, at)
        assert at.tzinfo is UTC
        found.append(at.isoformat()[:16])
    return found


def test_each_time_is_later_than_the_one_before() -> None:
    assert times("*/20 3 * * *", "2026-01-01T03:19") == [
        "2026-01-01T03:20",
        "2026-01-01T03:40",
        "2026-01-02T03:00",
    ]
    assert times("0 9 * jan,MAR mon-fri", "2026-01-30T09:00", count=1) == ["2026-03-02T09:00"]


def test_day_of_month_and_day_of_week_add_up_unless_one_of_them_is_a_star() -> None:
    assert times("0 0 13 * 5", "2026-01-01T00:00") == [
        "2026-01-02T00:00",
        "2026-01-09T00:00",
        "2026-01-13T00:00",
    ]
    assert times("0 0 13 * *", "2026-01-01T00:00", count=1) == ["2026-01-13T00:00"]


def test_the_last_day_and_the_second_monday_have_words() -> None:
    assert times("0 0 L * *", "2026-01-31T00:00", count=1) == ["2026-02-28T00:00"]
    assert times("0 0 * * mon#2", "2026-01-31T00:00", count=1) == ["2026-02-09T00:00"]
    assert times("0 0 * * 5L", "2026-01-31T00:00", count=1) == ["2026-02-27T00:00"]


def test_a_zones_own_clock_counts() -> None:
    assert times("0 3 * * *", "2026-03-28T12:00", BERLIN) == [
        "2026-03-29T01:00",
        "2026-03-30T01:00",
        "2026-03-31T01:00",
    ]


def test_a_fixed_time_in_the_hour_left_out_falls_once_behind_the_gap() -> None:
    assert times("15,45 2 * * *", "2026-03-28T12:00", BERLIN) == [
        "2026-03-29T01:00",
        "2026-03-30T00:15",
        "2026-03-30T00:45",
    ]


def test_a_fixed_time_in_the_hour_that_comes_twice_falls_in_its_first_pass_only() -> None:
    expected = ["2026-10-25T00:30", "2026-10-26T01:30"]
    assert times("30 2 * * *", "2026-10-24T12:00", BERLIN, 2) == expected
    for in_between in ("2026-10-25T00:30", "2026-10-25T01:15", "2026-10-25T01:30"):
        assert times("30 2 * * *", in_between, BERLIN, 1) == expected[1:]


def test_what_begins_with_a_star_follows_real_time() -> None:
    assert times("*/30 * * * *", "2026-10-24T23:40", BERLIN, 5) == [
        "2026-10-25T00:00",
        "2026-10-25T00:30",
        "2026-10-25T01:00",
        "2026-10-25T01:30",
        "2026-10-25T02:00",
    ]


@pytest.mark.parametrize(
    ("cron", "complaint"),
    [
        ("60 * * * *", "'60' is no minute"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("L * * * *", "'L' is no minute"),
        ("\u0663 * * * *", "'\u0663' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* 5-1 * * *", "'5-1' is no hour"),
        ("* * 32 * *", "'32' is no day of month"),
        ("* * 5L * *", "'5L' is no day of month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * mai *", "'mai' is no month"),
        ("* * * * 8", "'8' is no day of week"),
        ("* * * * 5L/2", "'5L/2' is no day of week"),
        ("* * * * 1#6", "'1#6' is no day of week"),
        ("* * * *", "there are 4 fields"),
        ("* * * * * *", "there are 6 fields"),
        ("@daily", "there are 1 fields"),
        ("0 0 31 2,4 *", "day of month '31' is in none of the months '2,4'"),
    ],
)
def test_the_field_that_is_wrong_is_named(cron: str, complaint: str) -> None:
    with pytest.raises(CronInvalid) as caught:
        times(cron, "2026-01-01T00:00")
    assert complaint in caught.value.message
    assert caught.value.details == {"path": "/cron"}


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../etc/passwd", "Europe", "UTC\0", "a" * 300])
def test_an_unknown_zone_is_named(zone: str) -> None:
    with pytest.raises(CronInvalid) as caught:
        times("* * * * *", "2026-01-01T00:00", zone)
    assert caught.value.details == {"path": "/timezone"}
