import pytest

from harness.figures import Summary, ratio, slope, summary


def test_a_summary_is_the_median_between_the_extremes():
    assert summary([3, None, 1, 2]) == Summary(2, 1, 3, 3)
    assert summary([4, 1]) == Summary(2.5, 1, 4, 2)
    assert summary([None]) is None and summary([]) is None


def windows(*values):
    return [value and {"x": value} for value in values]


def test_a_ratio_is_of_windows_next_to_each_other():
    # Twice as slow from the third window on, for both.
    base, mine = windows(10, 10, 20, 20), windows(11, 12, 22, 24)
    assert ratio(mine, base, "x") == Summary(pytest.approx(1.15), 1.1, 1.2, 4)


def test_a_ratio_leaves_out_windows_that_one_side_lacks():
    assert ratio(windows(11, None, 30), windows(10, 5, None), "x") == Summary(1.1, 1.1, 1.1, 1)
    assert ratio(windows(11), [{"x": 0}], "x") is None
    assert ratio(windows(11), windows(10), "y") is None


def test_a_slope_is_by_least_squares():
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(0, 0), (1, 3), (2, 0), (3, 3)]) == pytest.approx(0.6)
    assert slope([(1, 2)]) is None and slope([]) is None and slope([(1, 2), (1, 3)]) is None
