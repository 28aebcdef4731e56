"""What a process knows of the room of senders, without listing the inbox for each batch."""

import pytest

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.intake.crowding import UNSEEN_BATCHES, Counts, Share, beside, require_room

SENDERS_KNOWN = 10_000


def test_a_process_forgets_the_sender_that_it_met_longest_ago() -> None:
    counts = Counts()
    first, second = (Share(Sender("agent", name, 1), 1) for name in ("first", "second"))
    for share in (first, second):
        for _ in range(UNSEEN_BATCHES):
            counts.stored("t1", share)
        assert counts.must_look("t1", share)
    for number in range(SENDERS_KNOWN - 1):
        counts.stored("t1", Share(Sender("agent", f"other-{number}", 1), 1))
    assert [counts.must_look("t1", share) for share in (first, second)] == [False, True]


def test_the_batches_of_others_take_nothing_of_the_room_of_a_sender() -> None:
    mine, other = (Share(Sender("agent", name, 1), 1) for name in ("mine", "other"))
    waiting = [f"towns/t1/inbox/1-{number}{other.mark}.json" for number in range(limits.WAITING_BATCHES)]
    require_room(f"new{mine.mark}", mine, beside(mine, [*waiting, f"towns/t1/inbox/2-a{mine.mark}.json"]))
    with pytest.raises(Refused, match="of this sender wait already"):
        require_room(f"new{other.mark}", other, beside(other, waiting))


def test_an_eighth_of_the_room_is_stored_unseen_and_not_one_event_more() -> None:
    eighth = limits.WAITING_EVENTS["agent"] // 8
    for weight, looks in ((eighth, False), (eighth + 1, True)):
        assert Counts().must_look("t1", Share(Sender("agent", "p", 1), weight)) is looks


def test_the_last_event_that_fits_is_accepted_and_one_more_is_not() -> None:
    room = limits.WAITING_EVENTS["agent"]
    for weight, refused in ((5, False), (6, True)):
        share = Share(Sender("agent", "p", 1), weight)
        own = {f"towns/t1/inbox/1768046400000-old{share.mark}.json": room - 5}
        if refused:
            with pytest.raises(Refused, match=f"{room - 5} events"):
                require_room(f"new{share.mark}", share, own)
        else:
            require_room(f"new{share.mark}", share, own)


def test_a_batch_that_waits_already_is_accepted_again_where_no_room_is_left() -> None:
    """Its first answer may have been lost, and another process may be asked the second time."""
    share = Share(Sender("agent", "p", 1), 1)
    names = [f"{number}{share.mark}" for number in range(limits.WAITING_BATCHES)]
    own = beside(share, [f"towns/t1/inbox/1768046400000-{name}.json" for name in names])
    require_room(names[-1], share, own)
    with pytest.raises(Refused):
        require_room(f"new{share.mark}", share, own)


def test_the_inbox_is_listed_before_the_batch_that_could_be_one_event_too_many() -> None:
    room = limits.WAITING_EVENTS["agent"]
    for weight, looks in ((5, False), (6, True)):
        counts, share = Counts(), Share(Sender("agent", "p", 1), weight)
        counts.looked("t1", share, {"k1": room - 5})
        assert counts.must_look("t1", share) is looks


def test_the_inbox_is_listed_before_the_batch_that_could_be_one_too_many() -> None:
    share = Share(Sender("agent", "p", 1), 0)
    for waiting, looks in ((limits.WAITING_BATCHES - 1, False), (limits.WAITING_BATCHES, True)):
        counts = Counts()
        counts.looked("t1", share, {f"k{number}": 0 for number in range(waiting)})
        assert counts.must_look("t1", share) is looks


def test_ten_batches_are_stored_unseen_and_not_one_more() -> None:
    counts, share = Counts(), Share(Sender("agent", "p", 1), 0)
    for _ in range(UNSEEN_BATCHES):
        assert not counts.must_look("t1", share)
        counts.stored("t1", share)
    assert counts.must_look("t1", share)
