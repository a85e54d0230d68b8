"""The moving mean of answers' durations."""

from domain.model.latency import smoothed


def test_the_first_value_is_its_own_mean_and_later_ones_pull_it() -> None:
    mean = smoothed(None, 10.0)
    assert mean == 10.0
    assert 10.0 < smoothed(mean, 20.0) < 15.0
    for _ in range(50):
        mean = smoothed(mean, 20.0)
    assert 19.9 < mean <= 20.0
