"""Methods that cheat, each caught by the condition that is meant for it."""

from __future__ import annotations

import numpy as np

from icl_vla.evaluation.methods.expert import Expert, ExpertEpisode
from icl_vla.evaluation.methods.method import Method, chunk_of, hold
from icl_vla.evaluation.methods.vote import Vote
from icl_vla.evaluation.two_tasks import TwoTasks
from icl_vla_embodiments import TaskTarget, se3

SECONDS = 3.0  # after which those that do not know an end say that it is reached


class Freezes(Method):
    """Never moves, and never says that it is done before its time."""

    name = "freezes"
    summary = "stays where it is"
    sees = False

    def start(self, station, bank, instruction, seed):
        return _Held(station)


class _Held:
    def __init__(self, station):
        self.station = station

    def act(self, observation):
        done = observation.time > SECONDS
        return hold(self.station, observation, 0.1, done=done)


class CopiesState(Method):
    """Asks for the pose that was measured, step after step: a low error on every data set."""

    name = "copies state"
    summary = "commands what it measures"
    sees = False

    def start(self, station, bank, instruction, seed):
        return _Copied(station)


class _Copied:
    def __init__(self, station):
        self.station = station

    def act(self, observation):
        poses = self.station.model.poses(observation.q)
        effector = self.station.workspace.effector
        opening = observation.effectors[effector].gripper
        target = TaskTarget(poses={effector: poses[effector]}, grippers={effector: opening})
        done = observation.time > SECONDS
        return chunk_of(self.station, observation, [target] * 8, 0.1, done=done)


class FollowsNearest(Method):
    """Goes over whatever stands nearest to the hand, and waits there."""

    name = "follows nearest"
    summary = "goes to the nearest thing"
    sees = False

    def start(self, station, bank, instruction, seed):
        return _Nearest(station)


class _Nearest:
    def __init__(self, station):
        self.station = station
        self.goal = None

    def act(self, observation):
        world, effector = self.station.driver.world, self.station.workspace.effector
        here = self.station.model.poses(observation.q)[effector]
        if self.goal is None:
            name = nearest_thing(self.station, here)
            place = [*world.pose(name)[:2, 3], 0.12]
            self.goal = se3.pose(self.station.workspace.grasp, place)
        steps = [here[:3, 3] + s * (self.goal[:3, 3] - here[:3, 3]) for s in np.linspace(0.2, 1, 8)]
        targets = [
            TaskTarget(poses={effector: se3.pose(self.goal[:3, :3], p)}, grippers={effector: 1.0})
            for p in steps
        ]
        return chunk_of(self.station, observation, targets, 0.1, done=observation.time > 5.0)


def nearest_thing(station, hand) -> str:
    """Name of the thing nearest to the hand, across the table."""
    world = station.driver.world
    return min(
        sorted(world.bodies),
        key=lambda n: float(np.linalg.norm((world.pose(n)[:3, 3] - hand[:3, 3])[:2])),
    )


class IgnoresLanguage(Vote):
    """Does what the first demonstration of the bank shows, whatever is asked for."""

    name = "ignores language"
    summary = "takes the bank's first instruction"

    def start(self, station, bank, instruction, seed):
        return super().start(station, bank, bank.instructions[0], seed)


class IgnoresDemonstrations(Expert):
    """Knows how to do the first task of any scene, and reads nothing."""

    name = "ignores demonstrations"
    summary = "does the first task in the scene"

    def start(self, station, bank, instruction, seed):
        task = station.task
        own = task.parts[0] if isinstance(task, TwoTasks) else task
        operator = own.expert(station.workspace, np.random.default_rng(seed))
        driver = station.driver
        dt = 1 / bank.action_space.rate
        return ExpertEpisode(station, lambda o: operator.act(driver, o), dt)
