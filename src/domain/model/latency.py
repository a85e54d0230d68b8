"""How long answers take, in one number that follows the latest ones."""

LATEST_SHARE = 0.2
# The last ten answers make nine tenths of the number: it follows a change within moments.


def smoothed(before: float | None, latest: float) -> float:
    """The exponentially weighted mean after one more value; the first one is its own mean."""
    return latest if before is None else before + LATEST_SHARE * (latest - before)
