"""Seconds per image, and the share of them that is waiting for data, on a clock that the test moves."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from util.run.stopwatch import Stopwatch


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(steps: list[tuple[float, float, int]], smoothing: float = 0.95, passes: int = 1) -> Stopwatch:
    """``steps``: seconds of waiting, seconds of work, images in the batch."""
    clock, stopwatch = Clock(), Stopwatch(smoothing)
    real, time.perf_counter = time.perf_counter, clock
    try:
        for _ in range(passes):

            def batches():
                for wait, _, images in steps:
                    clock.now += wait
                    yield {"images": images}

            for (_, work, _), _batch in zip(steps, stopwatch.watch(batches(), lambda b: b["images"]), strict=True):
                clock.now += work
    finally:
        time.perf_counter = real
    return stopwatch


@settings(max_examples=40)
@given(
    wait=st.floats(0, 2), work=st.floats(0.01, 2), images=st.integers(1, 8), count=st.integers(2, 30),
    smoothing=st.sampled_from([0.0, 0.5, 0.95]),
)  # fmt: skip
def test_equal_steps_are_known_from_the_second_on(wait, work, images, count, smoothing):
    """The published loop's value starts from 0.1 s and creeps towards the truth."""
    stopwatch = run([(wait, work, images)] * count, smoothing)
    assert stopwatch.seconds_per_image == pytest.approx((wait + work) / images)
    assert stopwatch.data_share == pytest.approx(wait / (wait + work))


def test_the_first_step_does_not_count():
    stopwatch = run([(50, 100, 1), (1, 3, 2), (1, 3, 2)])
    assert stopwatch.seconds_per_image == pytest.approx(2) and stopwatch.data_share == pytest.approx(0.25)


def test_before_the_second_step_nothing_is_known():
    for steps in ([], [(1, 1, 1)]):
        stopwatch = run(steps)
        assert stopwatch.seconds_per_image == stopwatch.data_share == 0


def test_later_steps_weigh_more():
    stopwatch = run([(0, 1, 1), (0, 1, 1), (0, 3, 1)], smoothing=0.5)
    assert stopwatch.seconds_per_image == pytest.approx((0.25 * 1 + 0.5 * 3) / 0.75)


def test_it_goes_on_in_the_next_epoch_without_the_time_between():
    stopwatch = run([(1, 1, 1)] * 3, passes=2)
    assert stopwatch.steps == 6 and stopwatch.seconds_per_image == pytest.approx(2)
