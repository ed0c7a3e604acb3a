"""A run in other words: shown, warned of where nobody can answer, and refused by a person."""

from __future__ import annotations

import importlib.util
import json

import pytest
import typer
from typer.testing import CliRunner

from icl_vla.cli.instructions import confirm
from icl_vla_retrieval.text import PACKAGE

from .conftest import ROBOT

KNOWN = "put the red cube in the blue bowl"


def answered(asked: str, answer: str):
    """What a person sees who answers, and what comes of it."""
    app = typer.Typer()

    @app.command()
    def ask() -> None:
        print(confirm(asked, KNOWN, ask=True))

    return CliRunner().invoke(app, [], input=answer)


def test_the_same_words_need_no_answer():
    for asked in ("Put a red cube into the blue bowl!", "put the red cube in the blue bowl slowly"):
        done = answered(asked, "")
        assert done.exit_code == 0 and done.stdout == "[]\n" and not done.stderr


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("put the red ball in the blue bowl", "'ball' taken for 'cube'"),
        ("put the red cube in the bowl", "'blue' was not said"),
        ("put the red cube in the blue bowl twice", "'twice' is not there"),
        ("put the blue cube in the red bowl", "the same words in another order"),
    ],
)
def test_a_person_decides(asked, told):
    done = answered(asked, "y\n")
    assert done.exit_code == 0 and told in done.stderr and KNOWN in done.stderr
    for answer in ("n\n", "\n"):  # to go on must be meant
        refused = answered(asked, answer)
        assert refused.exit_code == 1 and "nothing was moved" in str(refused.exception)
        assert refused.exception.value == asked and refused.exception.valid == (KNOWN,)


def test_where_nobody_can_answer_it_is_warned_of_and_recorded(icl_vla, home):
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("the extra `text` is not installed")
    asked = "put the blue cube in the red bowl"
    words = ("--scene", "pick-place", "--seed", "44", "--films", "0", "--json")
    done = icl_vla(home, "run", ROBOT, asked, *words)
    assert done.returncode == 0, done.stderr
    assert f"understood as: {KNOWN}" in done.stderr
    assert "the same words in another order" in done.stderr and "another task?" in done.stderr
    report = json.loads(done.stdout)
    assert report["asked"] == asked and report["instruction"] == KNOWN
    assert report["different_words"] == [["blue", "red"], ["red", "blue"]]
    plain = icl_vla(home, "run", ROBOT, KNOWN, *words)
    assert "understood" not in plain.stderr and json.loads(plain.stdout)["different_words"] == []
