"""Instructions by meaning: the choice with made-up vectors, then with a sentence encoder."""

from __future__ import annotations

import importlib.util
import runpy
import sys

import numpy as np
import pytest

from icl_vla_retrieval import (
    InstructionError,
    TextEncoder,
    TextEncoderError,
    choose_instruction,
    different_words,
    text,
)
from icl_vla_retrieval.manner import manner_of, pace_between
from icl_vla_retrieval.text import MARGIN, PACKAGE, SIMILAR

KNOWN = ("close the lid", "open the lid", "ring the bell")


def embed_as(*cosines: float):
    """An encoder that puts the asked text at these cosines to the known ones."""

    def embed(texts):
        vectors = np.zeros((len(texts), len(texts)))
        vectors[0, 0] = 1.0
        for i, c in enumerate(cosines, 1):
            vectors[i, 0], vectors[i, i] = c, np.sqrt(1 - c * c)
        return vectors

    return embed


def never(texts):
    raise AssertionError("the same words need no encoder")


def test_the_same_words_win_without_an_encoder():
    assert choose_instruction("open the lid", KNOWN, never) == "open the lid"
    assert choose_instruction("  Open the  LID. ", KNOWN, never) == "open the lid"
    assert choose_instruction("Open the lid", ("open the lid", "Open the lid"), never) == (
        "Open the lid"
    )


@pytest.mark.parametrize(
    ("said", "what", "pace"),
    [
        ("Slowly open the lid", "open the lid", 0.5),
        ("open the lid, very carefully.", "open the lid", 0.5**1.5),
        ("slowly and gently, open the lid", "open the lid", 0.5),
        ("pick it up and put it softly into the bowl", "pick it up and put it into the bowl", 0.5),
        ("open the lid more slowly", "open the lid", 0.5**0.5),
        ("open the lid faster", "open the lid", 1.3),
        ("push the fast car", "push the fast car", 1.0),
        ("Open the LID.", "Open the LID.", 1.0),
    ],
)
def test_manner_is_told_from_what_is_done(said, what, pace):
    assert manner_of(said) == (what, pytest.approx(pace))


def test_what_is_asked_in_another_manner_is_the_same_task():
    assert choose_instruction("gently ring the bell", KNOWN, never) == "ring the bell"
    both = ("ring the bell", "ring the bell quickly")
    assert choose_instruction("rapidly ring the bell", both, never) == both[1]
    assert choose_instruction("softly ring the bell", both, never) == both[0]
    assert different_words("gently ring the bell", "ring the bell") == []
    assert pace_between("gently ring the bell", "ring the bell") == 0.5
    assert pace_between("gently ring the bell", "slowly ring the bell") == 1.0
    assert pace_between("ring the bell", "slowly ring the bell") == 1.0, "as it was shown"


def test_the_most_similar_wins_by_a_margin_only():
    assert choose_instruction("x", KNOWN, embed_as(0.3, 0.7, 0.7 - 2 * MARGIN)) == "open the lid"
    assert choose_instruction("x", ("one",), embed_as(SIMILAR + 0.01)) == "one"
    with pytest.raises(InstructionError, match="several") as caught:
        choose_instruction("x", KNOWN, embed_as(0.3, 0.7, 0.7 - MARGIN / 2))
    assert caught.value.valid == ("open the lid", "ring the bell", "close the lid")
    with pytest.raises(InstructionError, match="no demonstration") as caught:
        choose_instruction("x", KNOWN, embed_as(0.1, 0.2, SIMILAR - 0.01))
    assert caught.value.value == "x"
    assert caught.value.valid == ("ring the bell", "open the lid", "close the lid")


def test_looks_count_more_than_the_sentence():
    """Whose colour is whose: a mean over a sentence hardly knows."""
    known = ("put the white sponge in the grey basket", "put the grey sponge in the white basket")
    asked = "place the grey sponge into the white basket"
    for lead in (-0.2, 0.0, 0.2):
        assert choose_instruction(asked, known, embed_as(0.75 + lead, 0.75)) == known[1]
    known = ("hover over the large blue cube", "point down at the small dotted cube")
    asked = "hover over the small dotted cube"
    assert choose_instruction(asked, known, embed_as(0.9, 0.6)) == known[1]
    # but what means something else has no looks that count
    assert choose_instruction(asked, known, embed_as(0.9, SIMILAR - 0.01)) == known[0]
    with pytest.raises(InstructionError, match="no demonstration"):
        choose_instruction(asked, known, embed_as(SIMILAR - 0.01, SIMILAR - 0.01))


def test_the_order_of_words_tells_apart_what_is_equally_similar():
    known = ("put the sponge on the basket", "put the basket on the sponge")
    asked = "place the basket onto the sponge"
    for cosines in ((0.90, 0.90), (0.90 + MARGIN / 2, 0.90)):
        assert choose_instruction(asked, known, embed_as(*cosines)) == known[1]
    # a clear lead needs no look at the words
    assert choose_instruction(asked, known, embed_as(0.90 + 2 * MARGIN, 0.90)) == known[0]
    with pytest.raises(InstructionError, match="several"):
        choose_instruction("clean it", known, embed_as(0.90, 0.90))
    # a longer instruction that has all the asked words is as good as a shorter one
    with pytest.raises(InstructionError, match="several"):
        known = ("lift the red ball", "lift the big green ball")
        choose_instruction("lift the ball", known, embed_as(0.90, 0.90))


@pytest.mark.parametrize(
    ("asked", "known", "pairs"),
    [
        ("Put a red cube into the blue bowl, please.", "put the red cube in the blue bowl", []),
        ("turn off the lamp", "turn on the lamp", [("off", "on")]),
        (
            "put the blue cube in the red bowl",
            "put the red cube in the blue bowl",
            [("blue", "red"), ("red", "blue")],
        ),
        ("push the block", "push the green block", [("", "green")]),
        ("push the green block away", "push the green block", [("away", "")]),
        ("unfold the shirt", "fold the shirt", [("unfold", "fold")]),
        ("", "ring the bell", [("", "ring bell")]),
    ],
)
def test_words_that_a_task_may_hang_on_are_told(asked, known, pairs):
    assert different_words(asked, known) == pairs
    assert sorted(different_words(known, asked)) == sorted((b, a) for a, b in pairs)
    assert different_words(asked, asked) == different_words(known, known) == []


def test_no_sibling_of_the_benchmark_goes_untold(root):
    script = runpy.run_path(str(root / "benchmarks" / "instructions.py"))
    for name, wordings in (("development", "DEVELOPMENT"), ("held-out", "HELD_OUT")):
        for asked in script["SIBLINGS"][name]:
            assert all(different_words(asked, known) for known in script[wordings])


@pytest.mark.parametrize("asked", ["", "   "])
def test_saying_nothing_means_nothing(asked):
    with pytest.raises(InstructionError):
        choose_instruction(asked, KNOWN, never)


def test_an_encoder_that_cannot_be_loaded_says_so(tmp_path):
    with pytest.raises(TextEncoderError) as caught:
        TextEncoder(tmp_path)(["a"])
    assert caught.value.where == str(tmp_path) and "icl-vla[text]" in caught.value.remedy
    with pytest.raises(InstructionError) as caught:
        choose_instruction("x", KNOWN, TextEncoder(tmp_path))
    assert set(caught.value.valid) == set(KNOWN) and "icl-vla[text]" in caught.value.remedy


def test_without_the_extra_the_same_words_are_enough(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)  # as if it were not installed
    monkeypatch.setattr(text, "HUB", "nobody/keeps-this-in-the-cache")
    text._default.cache_clear()  # what an earlier test has loaded
    assert choose_instruction("Open the lid", KNOWN) == "open the lid"
    with pytest.raises(InstructionError) as caught:
        choose_instruction("lift the lid", KNOWN)
    assert caught.value.valid == KNOWN
    assert "pip install 'icl-vla[text]'" in caught.value.remedy


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("the extra `text` is not installed")
    return TextEncoder()


def test_sentences_are_unit_vectors_whatever_the_batch(encoder):
    texts = ["put it down", "a much longer sentence, so that the batch is padded", "go"]
    together = encoder(texts)
    assert together.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([encoder([t]) for t in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)  # padding is masked


def test_other_words_are_understood_and_nonsense_is_not(encoder):
    known = ("open the top drawer", "hang the towel on the hook", "press the green button")
    for asked, meant in (
        ("pull the upper drawer open", 0),
        ("put the towel on the hook", 1),
        ("push the green button", 2),
    ):
        assert choose_instruction(asked, known, encoder) == known[meant]
    for asked in ("make coffee", "sing a song", "what time is it"):
        with pytest.raises(InstructionError):
            choose_instruction(asked, known, encoder)
