"""The click simulation: worked by hand on small masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from ultra_kit.metrics import Clicks, next_click, simulate_clicks


def mask(*rows):
    """A mask drawn with letters: # is inside."""
    return np.array([[c == "#" for c in row] for row in rows])


EMPTY = mask(".....", ".....", ".....", ".....", ".....")
SQUARE = mask(".....", ".###.", ".###.", ".###.", ".....")


def test_first_click_is_the_deepest_point():
    assert next_click(EMPTY, SQUARE) == ((2, 2), True)


def test_the_border_of_the_image_is_an_edge():
    # Three columns at the left border: were the border no edge, column 0 would be deepest.
    truth = mask("###..", "###..", "###..", "###..", "###..")
    # Depth 2 at column 1 in rows 1 to 3; the first of these in raster order.
    assert next_click(EMPTY, truth) == ((1, 1), True)


def test_first_of_equals_is_taken_in_raster_order():
    truth = mask(".....", ".#.#.", ".....", ".#...", ".....")
    assert next_click(EMPTY, truth) == ((1, 1), True)


def test_distance_is_euclidean():
    # A plus of arm 2 has depth sqrt(2) in its centre; a bar of width 2 has depth 1 everywhere.
    truth = mask(".......", "..#..##", ".###.##", "..#..##", ".......")
    assert next_click(np.zeros((5, 7), bool), truth) == ((2, 2), True)


def test_the_larger_error_decides_the_sign():
    spilt = mask("####.", "####.", "####.", "####.", ".....")
    truth = mask("....#", "....#", "....#", ".....", ".....")
    # Too much: a 4 x 4 square at the corner, depth 2 first at (1, 1). Missing: a line, depth 1.
    assert next_click(spilt, truth) == ((1, 1), False)


def test_a_tie_gives_a_background_point():
    assert next_click(mask("#...", "...."), mask("...#", "....")) == ((0, 0), False)


def test_clicked_pixels_are_not_clicked_again():
    assert next_click(EMPTY, SQUARE, clicked=[(2, 2)]) == ((1, 1), True)
    assert next_click(mask("#.."), mask("..."), clicked=[(0, 0)]) is None


def test_nothing_wrong_nothing_to_click():
    assert next_click(SQUARE, SQUARE) is None


def test_ignored_pixels_count_for_nothing():
    ignore = mask(".....", "...#.", "...#.", "...#.", ".....")
    # Left are two columns of three: depth 1 everywhere.
    assert next_click(EMPTY, SQUARE, ignore=ignore) == ((1, 1), True)

    def two_columns(wanted, unwanted):
        return SQUARE & ~ignore

    assert simulate_clicks(two_columns, SQUARE, ignore=ignore).ious == (1.0,)
    assert simulate_clicks(two_columns, SQUARE, max_clicks=1).ious == pytest.approx((6 / 9,))


@given(arrays(bool, (6, 7)), arrays(bool, (6, 7)))
@settings(max_examples=50)
def test_next_click_against_a_slow_search(found, truth):
    """Every pixel of an error against every pixel outside it, the frame round the image included."""

    def depth(error):
        outside = [
            (y, x)
            for y in range(-1, 7)
            for x in range(-1, 8)
            if not (0 <= y < 6 and 0 <= x < 7 and error[y, x])
        ]
        return [
            (min((y - v) ** 2 + (x - u) ** 2 for v, u in outside), (x, y)) if error[y, x] else (0, (x, y))
            for y in range(6)
            for x in range(7)
        ]

    missing, too_much = depth(truth & ~found), depth(found & ~truth)
    wanted = max(missing)[0] > max(too_much)[0]
    best = max(missing if wanted else too_much, key=lambda entry: entry[0])
    assert next_click(found, truth) == ((best[1], wanted) if best[0] else None)


def test_simulation_hand_worked():
    truth = mask("##..", "##..", "....")

    def columns(wanted, unwanted):
        keep = {x for x, _ in wanted} - {x for x, _ in unwanted}
        return np.isin(np.arange(4), list(keep))[None] & np.ones((3, 1), bool)

    run = simulate_clicks(columns, truth, max_clicks=3)
    # 1: (0, 0) wanted, column 0: 2 of 5. 2: missing (1, 0), (1, 1), too much (0, 2), all of depth 1: unwanted (0, 2),
    # nothing is left: 0 of 4. 3: all is missing, (0, 0) was clicked: (1, 0), column 1: 2 of 5.
    assert run.points == ((0, 0), (0, 2), (1, 0))
    assert run.wanted == (True, False, True)
    assert run.ious == pytest.approx((2 / 5, 0, 2 / 5))


def test_simulation_stops_when_it_may():
    perfect = lambda wanted, unwanted: SQUARE  # noqa: E731
    assert simulate_clicks(perfect, SQUARE).ious == (1.0,)
    calls = []

    def poor(wanted, unwanted):
        calls.append((list(wanted), list(unwanted)))
        return EMPTY if len(wanted) < 2 else SQUARE & mask("#####", "#####", "#####", ".....", ".....")

    assert simulate_clicks(poor, SQUARE, target=0.6).ious == pytest.approx((0, 2 / 3))
    assert calls == [([(2, 2)], []), ([(2, 2), (1, 1)], [])]


def test_number_of_clicks():
    run = Clicks(points=((0, 0),) * 4, wanted=(True,) * 4, ious=(0.5, 0.86, 0.7, 0.91))
    assert [run.needed(t) for t in (0.4, 0.85, 0.86, 0.9, 0.95)] == [1, 2, 2, 4, 20]
    assert run.needed(0.9, max_clicks=3) == 3
    assert [run.after(n) for n in (1, 3, 4, 9)] == [0.5, 0.7, 0.91, 0.91]
    with pytest.raises(ValueError, match="counted from 1"):
        run.after(0)


def test_errors_say_what_must_hold():
    with pytest.raises(ValueError, match="one shape"):
        next_click(EMPTY, EMPTY[:3])
    with pytest.raises(ValueError, match=r"one shape \(H, W\)"):
        next_click(EMPTY[0], EMPTY[0])
    with pytest.raises(
        ValueError, match="none that is not ignored"
    ):  # no click was made, and none had an overlap
        simulate_clicks(lambda wanted, unwanted: EMPTY, SQUARE, ignore=SQUARE)
    with pytest.raises(ValueError, match="at least one pixel"):
        simulate_clicks(lambda wanted, unwanted: EMPTY, EMPTY)
    with pytest.raises(ValueError, match="max_clicks"):
        simulate_clicks(lambda wanted, unwanted: EMPTY, SQUARE, max_clicks=0)
