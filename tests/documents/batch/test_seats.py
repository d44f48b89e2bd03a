"""Documents go to the worker with the fewest; suspects are read alone."""

import contextlib
import threading

import pytest

from vl2.documents.batch.seats import Seats
from vl2.errors import EngineError


def test_the_worker_with_the_fewest_takes_the_next():
    seats = Seats(3, 2)
    with contextlib.ExitStack() as held:
        taken = [held.enter_context(seats.taken(alone=False)) for _ in range(6)]
        assert sorted(taken[:3]) == sorted(taken[3:]) == [0, 1, 2]


def test_a_full_house_waits():
    seats, inside = Seats(1, 1), threading.Event()

    def enter():
        with seats.taken(alone=False):
            inside.set()

    with seats.taken(alone=False):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not inside.wait(0.05)
    assert inside.wait(5)
    thread.join()


def test_a_suspect_waits_until_its_worker_holds_nothing_and_keeps_others_out():
    seats, alone, leave = Seats(2, 2), threading.Event(), threading.Event()

    def suspect():
        with seats.taken(alone=True) as seat:
            assert seat == 0
            alone.set()
            leave.wait(5)

    first = seats.taken(alone=False)
    assert first.__enter__() == 0
    thread = threading.Thread(target=suspect)
    thread.start()
    assert not alone.wait(0.05)
    with contextlib.ExitStack() as held:  # whoever comes meanwhile goes to the other worker
        assert [held.enter_context(seats.taken(alone=False)) for _ in range(2)] == [1, 1]
        first.__exit__(None, None, None)
        assert alone.wait(5)
    leave.set()
    thread.join()
    with seats.taken(alone=False) as seat:
        assert seat == 0


@pytest.mark.parametrize("alone", [False, True])
def test_who_waits_when_the_seats_are_closed_is_sent_away(alone):
    seats, errors = Seats(1, 1), []

    def enter():
        try:
            with seats.taken(alone=alone):
                pass
        except EngineError as error:
            errors.append(str(error))

    with seats.taken(alone=False):
        thread = threading.Thread(target=enter)
        thread.start()
        seats.close()
        thread.join(5)
    assert errors == ["The work was ended before this document was read."]
    with pytest.raises(EngineError), seats.taken(alone=alone):
        pass
