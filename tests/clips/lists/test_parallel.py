"""Tasks are functions of this module, which worker processes import."""

import os
import signal
from itertools import count, islice

import pytest

from movideo.clips.lists.parallel import each


def square(number):
    return number**2


def square_or_die(number):
    if number % 10 == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def square_or_raise(number):
    if number == 3:
        raise ValueError("three")
    return number**2


def died(number):
    return -number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_done_once(workers):
    results = list(each(square, iter(range(50)), workers, died))
    assert sorted(results) == [(number, number**2) for number in range(50)]


def test_items_are_taken_as_they_are_needed():
    endless = count()
    results = each(square, endless, 2, died)
    assert len(list(islice(results, 5))) == 5
    assert next(endless) < 5 + 2 * 2 * 4
    results.close()


def test_an_item_that_kills_its_process_costs_no_other():
    results = dict(each(square_or_die, range(15), 2, died))
    assert results == {number: number**2 for number in range(15)} | {3: -3, 13: -13}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out(workers):
    with pytest.raises(ValueError, match="three"):
        list(each(square_or_raise, range(15), workers, died))
