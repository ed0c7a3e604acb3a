"""A gymnasium-style environment from elsewhere: declared by hand, demonstrated, measured.

    python examples/somebody_elses_simulator.py

``Crane`` is the environment: it knows nothing of this project. ``PutOnMark`` says what has to be
said of it. The same class works as `icl-vla run crane "..." --driver gymnasium --driver-option
task=MODULE:PutOnMark`, and as `family: MODULE:PutOnMark` in a suite of `icl-vla benchmark`.
"""

import tempfile
from pathlib import Path

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from icl_vla.sim.foreign import ForeignTask
from icl_vla.sim.scene import CameraSpec
from icl_vla_embodiments import (
    ActionSpace,
    CameraImage,
    Dimension,
    EffectorState,
    Kind,
    Observation,
    Reference,
    TaskTarget,
    se3,
)
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf

EYE, TARGET, FOV, PIXELS = (0.95, 0.25, 0.6), (0.3, 0.0, 0.0), 45.0, 128
OPEN = 0.04  # [m] of each finger
INERTIA = '<inertia ixx="1e-3" iyy="1e-3" izz="1e-3" ixy="0" ixz="0" iyz="0"/>'
HOME = (0.3, 0.0, 0.15, OPEN, OPEN)  # x, y, down, fingers


def link(name: str, size: str, at: str) -> str:
    """A box with a name."""
    shape = f'<origin xyz="{at}"/><geometry><box size="{size}"/></geometry>'
    return (
        f'<link name="{name}"><inertial><mass value="0.3"/>{INERTIA}</inertial>'
        f"<visual>{shape}</visual><collision>{shape}</collision></link>"
    )


def slide(name: str, parent: str, child: str, at: str, axis: str, limits: str) -> str:
    """A prismatic joint."""
    return (
        f'<joint name="{name}" type="prismatic"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin {at}/><axis xyz="{axis}"/><limit {limits} effort="300" velocity="0.6"/></joint>'
    )


URDF = "".join(
    (
        '<robot name="crane">',
        link("base_link", "0.02 0.02 0.02", "-0.2 0 0"),
        slide("x", "base_link", "beam", 'xyz="0 0 0.5"', "1 0 0", 'lower="0" upper="0.6"'),
        link("beam", "0.03 0.03 0.03", "0 0 0.1"),
        slide("y", "beam", "trolley", "", "0 1 0", 'lower="-0.35" upper="0.35"'),
        link("trolley", "0.03 0.03 0.03", "0 0 0.06"),
        slide("down", "trolley", "palm", 'rpy="3.14159265 0 0"', "0 0 1", 'lower="0" upper="0.42"'),
        link("palm", "0.03 0.12 0.02", "0 0 0"),
        *(
            slide(f"finger_{s}", "palm", s, "", f"0 {sign} 0", f'lower="0" upper="{OPEN}"')
            + link(s, "0.02 0.012 0.08", f"0 {sign * 0.006} 0.04")
            for s, sign in (("left", 1), ("right", -1))
        ),
        f'<link name="tool"><inertial><mass value="0.01"/>{INERTIA}</inertial></link>'
        '<joint name="tip" type="fixed"><parent link="palm"/>'
        '<child link="tool"/><origin xyz="0 0 0.065"/></joint></robot>',
    )
)


class Crane:
    """A gripper under a crane, at 10 Hz: actions are dx, dy, dz of +-4 cm and open or closed."""

    def __init__(self) -> None:
        self.client = BulletClient(pybullet.DIRECT)
        self.urdf = Path(tempfile.mkdtemp()) / "crane.urdf"
        self.urdf.write_text(URDF)

    def box(self, size, at, color, mass=0.0):
        c, half = self.client, [s / 2 for s in size]
        solid = c.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half) if mass else -1
        shown = c.createVisualShape(
            pybullet.GEOM_BOX, halfExtents=half, rgbaColor=[*color, 1], specularColor=[0, 0, 0]
        )
        return c.createMultiBody(mass, solid, shown, at)

    def reset(self, *, seed=None):
        c, rng = self.client, np.random.default_rng(seed)
        c.resetSimulation()
        c.setGravity(0, 0, -9.81)
        table = self.box((1.6, 1.6, 0.1), (0.3, 0, -0.05), (0.75, 0.73, 0.7), mass=1e-9)
        c.changeDynamics(table, -1, mass=0)
        while True:
            cube, self.mark = rng.uniform((0.18, -0.16), (0.42, 0.16), (2, 2))
            if np.linalg.norm(cube - self.mark) > 0.12:
                break
        self.box((0.06, 0.06, 0.001), (*self.mark, 0.0005), (0.1, 0.6, 0.2))
        self.cube = self.box((0.04,) * 3, (*cube, 0.02), (0.8, 0.1, 0.1), mass=0.08)
        self.robot = c.loadURDF(str(self.urdf), useFixedBase=True)
        self.joints = [
            i for i in range(c.getNumJoints(self.robot)) if c.getJointInfo(self.robot, i)[2] != 4
        ]
        for joint, value in zip(self.joints, HOME, strict=True):
            c.resetJointState(self.robot, joint, value)
            c.changeDynamics(self.robot, joint, lateralFriction=1.2)
        left, right = self.joints[3:]
        gear = c.createConstraint(
            self.robot, left, self.robot, right, pybullet.JOINT_GEAR, (0, 0, 1), (0,) * 3, (0,) * 3
        )  # or what is held drifts sideways between two motors at their limits
        c.changeConstraint(gear, gearRatio=-1, erp=0.1, maxForce=100)
        self.wanted = np.array(HOME)
        return self._look(), self._info()

    def step(self, action):
        x, y, z, opening = np.clip(action, -1, 1)
        self.wanted[:3] = np.clip(self._q()[:3] + 0.04 * np.array([x, y, -z]), *self._limits())
        self.wanted[3:] = OPEN * (opening + 1) / 2
        self.client.setJointMotorControlArray(
            self.robot, self.joints, pybullet.POSITION_CONTROL, self.wanted,
            forces=[300, 300, 300, 15, 15], positionGains=[0.3] * 5,
        )  # fmt: skip
        for _ in range(24):
            self.client.stepSimulation()
        info = self._info()
        return self._look(), float(info["done"]), False, False, info

    def _limits(self):
        return np.array([(0, -0.35, 0), (0.6, 0.35, 0.42)])

    def _q(self):
        return np.array([s[0] for s in self.client.getJointStates(self.robot, self.joints)])

    def _look(self):
        c = self.client
        view = c.computeViewMatrix(EYE, TARGET, (0, 0, 1))
        lens = c.computeProjectionMatrixFOV(FOV, 1.0, 0.05, 4.0)
        _, _, rgba, buffer, _ = c.getCameraImage(PIXELS, PIXELS, view, lens, shadow=0)
        rgb = np.reshape(rgba, (PIXELS, PIXELS, 4))[..., :3].astype(np.uint8)
        buffer = np.reshape(buffer, (PIXELS, PIXELS))
        depth = np.where(buffer < 1, 4.0 * 0.05 / (4.0 - 3.95 * buffer), 0.0)
        return {"rgb": rgb, "depth": depth.astype(np.float32), "joints": self._q()}

    def _info(self):
        place = np.array(self.client.getBasePositionAndOrientation(self.cube)[0])
        there = np.linalg.norm(place[:2] - self.mark) < 0.015 and place[2] < 0.025
        return {"done": bool(there and self._q()[3] > 0.8 * OPEN), "cube": place}


class PutOnMark(ForeignTask):
    """What has to be said of the environment by hand."""

    instruction = "put the red cube on the green mark"

    def make(self) -> Crane:
        return Crane()

    def observation(self, seen, info) -> Observation:
        camera = CameraSpec(EYE, TARGET, PIXELS, PIXELS, FOV)
        image = CameraImage(
            seen["rgb"], seen["depth"], camera.intrinsics, None, camera.T_world_camera
        )
        hand = EffectorState(gripper=float(np.clip(seen["joints"][3] / OPEN, 0, 1)))
        return Observation(0.0, {"front": image}, q=seen["joints"], effectors={HAND: hand})

    def succeeded(self, info) -> bool:
        return info["done"]

    def operator(self, environment: Crane, rng: np.random.Generator):
        """Above the cube, down, close, up, over, down, open, up: set-points 2.5 cm a step."""
        cube = environment._info()["cube"]
        high, low = 0.14, 0.02
        over, there = (*cube[:2], high), (*environment.mark, high)
        stages = [(over, 1), ((*cube[:2], low), 1), ((*cube[:2], low), 0), (over, 0), (there, 0)]
        stages += [((*environment.mark, low + 0.003), 0), ((*environment.mark, low), 1), (there, 1)]
        point, waited = None, 0

        def act(observation: Observation) -> TaskTarget | None:
            nonlocal point, waited
            x, y, down = observation.q[:3]
            here = np.array([x, y, 0.435 - down])
            point = here if point is None else point
            goal, opening = np.array(stages[0][0]), stages[0][1]
            way = goal - point
            point = point + way * min(1.0, 0.025 / max(np.linalg.norm(way), 1e-9))
            if np.linalg.norm(goal - here) < 0.008:
                waited += 1
                if waited > 5:
                    stages.pop(0)
                    waited = 0
            T = se3.pose(np.diag([1.0, -1.0, -1.0]), point)
            return TaskTarget(poses={HAND: T}, grippers={HAND: opening}) if stages else None

        return act


HAND = "arm"
SPACE = ActionSpace(
    "crane",
    (
        *(
            Dimension(axis, Kind.EE_POSITION, effector=HAND, component=i, unit="m", scale=0.04,
                      lower=-1.0, upper=1.0, reference=Reference.MEASURED)
            for i, axis in enumerate("xyz")
        ),
        Dimension("grip", Kind.GRIPPER, role="gripper", effector=HAND, scale=0.5, offset=0.5,
                  lower=-1.0, upper=1.0),
    ),
    rate=10.0,
)  # fmt: skip


def add_robot(home: Path) -> None:
    """The crane's arm, with its action space as the environment has it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "crane.urdf"
        file.write_text(URDF)
        robot = embodiment_from_urdf(file)
    EmbodimentStore(home).add(robot.with_(action_spaces=(SPACE,)))


def main() -> None:
    """Five demonstrations by the operator, then three methods in new scenes."""
    from icl_vla.evaluation.benchmark import run_suite
    from icl_vla.evaluation.suite import Cell, Suite

    home = Path(tempfile.mkdtemp(prefix="icl-vla-"))
    add_robot(home)
    name = f"{Path(__file__).stem}:PutOnMark"
    cells = (Cell(name, demonstrations=5),)
    methods = ("vote", "mean_trajectory", "nothing", "expert")
    suite = Suite("crane", cells, methods, tasks=1, episodes=4, body="crane")
    for row in run_suite(suite, home)["rows"]:
        print(f"{row['method']:16} {row['successes']} of {row['episodes']}")


if __name__ == "__main__":
    main()
