from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import ArmMpc, GovernorConfig, MpcConfig, WbcError
from icl_vla_wbc.horizon import Horizon
from icl_vla_wbc.limits import ViableLimits
from icl_vla_wbc.limits.effort import EffortLimits, stage_torques
from icl_vla_wbc.mpc import PATIENCE
from icl_vla_wbc.program import Program
from icl_vla_wbc.torque import ArmTorqueMpc, TorqueConfig

PERIOD = 0.002  # [s]
AHEAD = 0.05 * np.arange(21)  # [s]
FAST = MpcConfig(governor=GovernorConfig(2.0, 8.0, 50.0, 200.0, 0.5, 1.5))


@pytest.fixture(autouse=True)
def cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No test finds code that another run compiled."""
    monkeypatch.setenv("ICL_VLA_HOME", str(tmp_path_factory.mktemp("home")))
    yield


def figure(T: Array, t: float) -> Array:
    """A figure of 10 x 15 x 20 cm and 0.36 rad at 0.4 Hz, from ``T``."""
    a = 2 * np.pi * 0.4 * t
    offset = np.array([0.05 * np.sin(2 * a), 0.15 * np.sin(a), 0.1 * (1 - np.cos(a))])
    turn = np.array([0.3 * np.sin(a), 0.2 * np.sin(a), 0.0])
    return se3.pose(T[:3, :3] @ se3.exp3(turn), T[:3, 3] + offset)


def ahead(effector: str, T: Array, t: float) -> list[TaskTarget]:
    return [TaskTarget(poses={effector: figure(T, t + s)}) for s in AHEAD]


class Plant:
    """Exact rigid-body dynamics of a model whose bodies are heavier than believed."""

    def __init__(self, model: RobotModel, q: Array, heavier: float) -> None:
        self.model, self.q, self.v = model, q.copy(), np.zeros(model.n)
        self.body = model.model.copy()
        for inertia in self.body.inertias:
            inertia.mass *= heavier
            inertia.inertia = heavier * inertia.inertia
        self.data = self.body.createData()

    def observation(self) -> Observation:
        return Observation(0.0, q=self.q, v=self.v)

    def step(self, tau: Array, substeps: int = 4) -> None:
        h, G = PERIOD / substeps, self.model.G
        for _ in range(substeps):
            full = self.model.full(self.q)
            M = pin.crba(self.body, self.data, full)
            M = G.T @ (np.triu(M) + np.triu(M, 1).T) @ G
            bias = G.T @ pin.nonLinearEffects(self.body, self.data, full, G @ self.v)
            self.v = self.v + h * np.linalg.solve(M, tau - bias)
            self.q = self.q + h * self.v


def test_torques_of_the_stages_equal_their_symbolic_twins(
    robot: Callable[[str], RobotModel], rng: np.random.Generator
) -> None:
    """Until code is compiled Pinocchio stands in: same numbers, same layout."""
    model, arm, stages = robot("panda"), np.array([0, 1, 2, 3, 4, 5, 6]), 5
    torques = stage_torques(model, arm, stages)
    symbolic = torques.compilation.function
    for array in torques.inputs:
        array[:] = rng.normal(size=array.shape)
    expected = symbolic(*(array.T for array in torques.inputs))
    for mine, right in zip(torques(), expected, strict=True):
        np.testing.assert_allclose(mine, np.array(right).T, atol=1e-10)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_machine_code_takes_over(
    robot: Callable[[str], RobotModel],
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CC")
    torques = stage_torques(robot("xarm"), np.arange(6), 7)
    for array in torques.inputs:
        array[:] = rng.normal(size=array.shape)
    before = [out.copy() for out in torques()]
    assert not torques.compiled
    assert torques.compilation.wait(120)
    time.sleep(0.11)  # it looks every tenth of a second
    for old, new in zip(before, torques(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-10)
    assert torques.compiled


def test_linearised_torques(robot: Callable[[str], RobotModel], rng: np.random.Generator) -> None:
    """Against central differences of Pinocchio's inverse dynamics along the planned motion."""
    model, arm = robot("panda"), np.array([0, 1, 2, 3, 4, 5, 6])
    horizon = Horizon(20, 6, 0.05, PERIOD)
    limits = ViableLimits.of(model.embodiment, PERIOD).subset(arm)
    program = Program(arm, limits, horizon, FAST)
    efforts = EffortLimits(model, arm, horizon, np.ones(model.n))
    q, v, U = model.neutral[arm], rng.normal(size=7), rng.normal(size=(6, 7))

    def torques(U: Array) -> Array:
        X = np.concatenate([q[None], v[None], U])
        P, V = (np.concatenate([x[None], y @ X]) for x, y in ((q, horizon.P), (v, horizon.V)))
        taus = []
        for c in horizon.checked:
            full = model.neutral.copy(), np.zeros(model.n), np.zeros(model.n)
            for part, values in zip(full, (P[c], V[c], (horizon.A @ X)[c]), strict=True):
                part[arm] = values
            G = model.G
            tau = pin.rnea(model.model, model.data, model.full(full[0]), G @ full[1], G @ full[2])
            taus.append((G.T @ tau)[arm])
        return np.array(taus)

    tau, changes = efforts.torques(program.plan(model.neutral, v, U))
    np.testing.assert_allclose(tau, torques(U), atol=1e-10)
    direction, h = rng.normal(size=U.shape), 1e-5
    difference = (torques(U + h * direction) - torques(U - h * direction)) / (2 * h)
    along = np.einsum("cikl,kl->ci", changes, direction)
    np.testing.assert_allclose(along, difference, atol=1e-6 * np.abs(difference).max())


def test_effort_limits_bind_in_the_plan(robot: Callable[[str], RobotModel]) -> None:
    """A weak arm slows down for its motors; the same arm without these rows asks too much."""
    strong = robot("panda")
    q = strong.neutral
    load = np.abs(
        strong.G.T @ pin.rnea(strong.model, strong.data, strong.full(q), *np.zeros((2, 9)))
    )
    effort = 1.2 * load + 3.0
    limits = {
        name: replace(limits, effort=float(e), acceleration=50.0)
        for (name, limits), e in zip(strong.embodiment.limits.items(), effort, strict=True)
    }
    model = RobotModel(strong.embodiment.with_(limits=limits))
    T = model.poses(q)["arm"]
    goal = [TaskTarget(poses={"arm": se3.pose(T[:3, :3], T[:3, 3] + [-0.1, 0.3, 0.1])})]
    excess = {}
    for kind in (ArmMpc, ArmTorqueMpc):
        controller = kind(model, config=FAST, period=0.01)
        controller.reset(Observation(0.0, q=q))
        state, planned, errors, residuals = (q, np.zeros(model.n)), [], [], []
        for k in range(200):
            command = controller.track(goal, Observation(0.01 * k, q=state[0], v=state[1]))
            assert command.q is not None and command.v is not None and command.level == "nominal"
            G, a = model.G, (command.v - state[1]) / 0.01
            motion = model.full(state[0]), G @ state[1], G @ a
            planned.append(G.T @ pin.rnea(model.model, model.data, *motion))
            state = command.q, command.v
            if command.tau is not None:
                assert (np.abs(command.tau) <= effort).all()
            solution = controller.solution.residuals() if controller.solution else None
            assert solution is not None
            residuals.append((solution.primal, solution.dual, solution.complementarity))
        errors.append(
            np.linalg.norm(model.poses(state[0])["arm"][:3, 3] - goal[0].poses["arm"][:3, 3])
        )
        excess[kind] = float((np.abs(planned)[:, :7] / effort[:7]).max()) - 1
        assert errors[-1] < 1e-3  # it gets there all the same
        assert np.max(residuals) < 1e-8
    assert excess[ArmMpc] > 0.3
    assert excess[ArmTorqueMpc] < 0.01  # soft rows, and a linearisation


def test_disturbance_is_learned_without_offset(robot: Callable[[str], RobotModel]) -> None:
    """At rest the estimate is what the model lacks, to the last digit that has settled."""
    model = robot("panda")
    q = model.neutral
    plant = Plant(model, q, 1.2)
    controller = ArmTorqueMpc(model, period=PERIOD)
    controller.reset(plant.observation())
    T = model.poses(q)["arm"]
    for _ in range(750):  # 1.5 s, 30 time constants
        command = controller.track([TaskTarget(poses={"arm": T})], plant.observation())
        assert command.tau is not None
        plant.step(command.tau)
    gravity = model.G.T @ pin.computeGeneralizedGravity(
        model.model, model.data, model.full(plant.q)
    )
    np.testing.assert_allclose(controller.disturbance, 0.2 * gravity, atol=1e-3)
    assert np.linalg.norm(model.poses(plant.q)["arm"][:3, 3] - T[:3, 3]) < 1e-5


def test_bad_data_gives_finite_torques_within_effort(
    robot: Callable[[str], RobotModel], rng: np.random.Generator
) -> None:
    model = robot("panda")
    effort = model.embodiment.array("effort")
    plant = Plant(model, model.neutral, 1.0)
    controller = ArmTorqueMpc(model, period=PERIOD)
    controller.reset(plant.observation())
    T = model.poses(model.neutral)["arm"]
    bad = np.full(model.n, np.nan)
    patience, missing = round(PATIENCE / PERIOD), 0
    for k in range(400 + 2 * patience):
        target = figure(T, k * PERIOD)
        kind = int(rng.integers(6)) if k < 400 else 0
        missing = missing + 1 if kind == 0 else 0
        observation = plant.observation()
        if kind == 0:
            observation = replace(observation, q=bad)
        elif kind == 1:
            observation = replace(observation, v=bad)
        elif kind == 2:
            observation = replace(observation, v=None)
        elif kind == 3:
            target = np.full((4, 4), np.nan)
        command = controller.track([TaskTarget(poses={"arm": target})], observation)
        assert command.mode == "torque" and command.tau is not None
        assert np.isfinite(command.tau).all() and (np.abs(command.tau) <= effort).all()
        assert (command.level == "braking") == (kind == 3 or missing > patience)
        plant.step(command.tau)
    assert np.abs(plant.q - controller.track([], plant.observation()).q).max() < 0.02


def test_first_command_without_compiled_code(robot: Callable[[str], RobotModel]) -> None:
    """CPU time of this thread, since the machine may be busy with other things."""
    model = robot("panda")
    start = time.thread_time()
    controller = ArmTorqueMpc(model, period=PERIOD)
    controller.reset(Observation(0.0, q=model.neutral))
    controller.track(
        [TaskTarget(poses={"arm": model.poses(model.neutral)["arm"]})],
        Observation(0.0, q=model.neutral),
    )
    assert time.thread_time() - start < 1.0


def test_settings_are_checked() -> None:
    with pytest.raises(WbcError, match="positive"):
        TorqueConfig(bandwidth=0.0)


def heavy_panda(client: Any, path: Path, q: Array, model: RobotModel) -> tuple[int, dict[int, int]]:
    """PyBullet's panda, a fifth heavier than its URDF says, and the joints that are driven."""
    import pybullet

    body = client.loadURDF(str(path), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE)
    rows = {model.model.names[i]: model.model.idx_vs[i] for i in range(1, model.model.njoints)}
    driven = {}
    for index in range(client.getNumJoints(body)):
        mass, _, inertia = client.getDynamicsInfo(body, index)[:3]
        client.changeDynamics(
            body,
            index,
            mass=1.2 * mass,
            localInertiaDiagonal=[1.2 * x for x in inertia],
            linearDamping=0,
            angularDamping=0,
            jointDamping=0,
        )
        name = client.getJointInfo(body, index)[1].decode()
        if name in rows:
            driven[index] = rows[name]
    for index, row in driven.items():
        client.resetJointState(body, index, (model.G @ q)[row])
        client.setJointMotorControl2(body, index, pybullet.VELOCITY_CONTROL, force=0)
    return body, driven


def test_wrong_masses_in_pybullet(robot: Callable[[str], RobotModel]) -> None:
    """The bar: at most 3 mm rms on the figure with 20% mass error and torque actuation."""
    import pybullet
    from pybullet_utils.bullet_client import BulletClient

    model = robot("panda")
    q = model.neutral
    client = BulletClient(pybullet.DIRECT)
    try:
        client.setGravity(0, 0, -9.81)
        client.setTimeStep(PERIOD / 2)
        body, driven = heavy_panda(client, model.embodiment.urdf_path, q, model)
        unmap = np.linalg.pinv(model.G[list(driven.values())])
        effort = model.embodiment.array("effort")

        def observe() -> Observation:
            states = client.getJointStates(body, list(driven))
            return Observation(
                0.0, q=unmap @ [s[0] for s in states], v=unmap @ [s[1] for s in states]
            )

        controller = ArmTorqueMpc(model, config=FAST, period=PERIOD)
        controller.reset(observe())
        T, errors = model.poses(q)["arm"], []
        for k in range(1750):
            command = controller.track(ahead("arm", T, k * PERIOD), observe(), times=AHEAD)
            assert command.tau is not None and (np.abs(command.tau) <= effort).all()
            forces = unmap.T @ command.tau
            for _ in range(2):
                client.setJointMotorControlArray(
                    body, list(driven), pybullet.TORQUE_CONTROL, forces=forces
                )
                client.stepSimulation()
            here = model.poses(observe().q)["arm"]
            errors.append(np.linalg.norm(here[:3, 3] - figure(T, (k + 1) * PERIOD)[:3, 3]))
        steady = np.array(errors)[500:]  # one period of the figure, after a second
        assert np.sqrt(np.mean(steady**2)) < 3e-3
    finally:
        client.disconnect()
