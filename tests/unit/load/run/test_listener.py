import msgpack
import pytest

from asr_client import Interim, ModelInfo, Segment, Word
from load_tests.report.live_tally import LiveTally, flicker
from load_tests.run.listener import Listener


def interim(text, end_s, *, start_s=0.0, index=0):
    return Interim(index=index, start_s=start_s, end_s=end_s, text=text, stable_text="", words=())


def final(text, end_s, *, index=0, reason="pause"):
    words = (Word(text=text, start_s=0.0, end_s=end_s, confidence=1.0),)
    return Segment(
        index=index,
        first_frame=0,
        frames=1,
        start_s=0.0,
        end_s=end_s,
        text=text,
        confidence=1.0,
        words=words,
        chars=(),
        reason=reason,
        model=ModelInfo(id="demo", revision="1"),
    )


def heard(*events):
    listener = Listener()
    for event, at_s in events:
        listener.take(event, at_s)
    return listener.tally


def test_an_interim_counts_from_when_its_look_was_due():
    # The first one from its newest sample. The second is due at 0.8 s; its look was sent late.
    tally = heard((interim("a", 0.4), 0.5), (interim("a", 1.3), 1.5))
    assert list(tally.interim_s) == pytest.approx([0.1, 0.7])


def test_the_hop_grows_with_the_open_segment_in_whole_blocks():
    # A tenth of 8.4 s is 0.84 s; the block ends at 0.9 s.
    tally = heard((interim("a", 8.4), 8.5), (interim("a", 9.3), 9.4))
    assert list(tally.interim_s) == pytest.approx([0.1, 0.1])


def test_another_segment_s_interim_does_not_count_from_the_one_before():
    tally = heard((interim("a", 0.4), 0.5), (interim("b", 3.0, index=1), 3.2))
    assert list(tally.interim_s) == pytest.approx([0.1, 0.2])


def test_a_final_counts_from_its_last_word_if_a_pause_ended_it():
    tally = heard((final("A", 1.0), 2.0), (final("B", 3.0, index=1, reason="end"), 3.1))
    assert list(tally.final_s) == pytest.approx([1.0])


def test_flicker_is_the_share_of_words_that_the_next_display_does_not_keep():
    tally = heard(
        (interim("GO FOR", 0.4), 0.4),
        (interim("GO FORWARD TEN", 0.8), 0.8),
        (final("GO FORWARD TEN METERS", 1.2), 1.2),
    )
    # FOR, of five words in two interims.
    assert (tally.shown, tally.revised) == (5, 1)
    assert flicker(tally) == pytest.approx(0.2)


def test_tallies_travel_and_add_up():
    tally = heard((interim("A B", 0.4), 0.5), (final("A", 1.0), 2.0))
    message = msgpack.loads(msgpack.dumps(tally.to_message()))
    total = LiveTally.from_message(message)
    total.add(tally)
    assert (total.streams, total.shown, total.revised) == (2, 4, 2)
    assert list(total.interim_s) == pytest.approx([0.1, 0.1])
    assert list(total.final_s) == pytest.approx([1.0, 1.0])
    assert flicker(LiveTally()) == 0
