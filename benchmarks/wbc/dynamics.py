"""Every CasADi function of the dynamics beside Pinocchio, on robots of all families.

Run ``python benchmarks/wbc/dynamics.py [--robots DIR] [--samples 10] [--json PATH]``. It takes
URDFs of pybullet_data, of example-robot-data where the extra ``robots`` is installed, and with
``--robots`` every ``*/robot.urdf`` of a folder. Robots that stand on legs or fly get a free-flyer
root. Errors are absolute (m, rad, N m, kg m^2 ...), the largest over random configurations,
velocities and accelerations; the bar is 1e-9. The exit code is 1 where a robot misses it.
"""

from __future__ import annotations

import argparse
import json
import sys
import sysconfig
import time
from pathlib import Path

import casadi as ca
import numpy as np
import pinocchio as pin

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc.dynamics import RigidBody, inverse_dynamics_derivatives

BAR = 1e-9
FLOATING = ("quadruped", "biped", "humanoid", "drone")  # families whose root is free
EXAMPLE = "cmeel.prefix/share/example-robot-data/robots"
URDFS = {
    "pybullet_data": (
        "franka_panda/panda.urdf",
        "kuka_iiwa/model.urdf",
        "xarm/xarm6_robot.urdf",
        "husky/husky.urdf",
        "racecar/racecar_differential.urdf",
        "differential/diff_ring.urdf",
        "mini_cheetah/mini_cheetah.urdf",
        "aliengo/aliengo.urdf",
    ),
    EXAMPLE: (
        "panda_description/urdf/panda.urdf",
        "ur_description/urdf/ur5_robot.urdf",
        "kinova_description/robots/kinova.urdf",
        "xarm_description/urdf/xarm7.urdf",
        "so_arm_description/urdf/so101.urdf",
        "z1_description/urdf/z1.urdf",
        "baxter_description/urdf/baxter.urdf",
        "pr2_description/urdf/pr2.urdf",
        "tiago_description/robots/tiago_no_hand.urdf",
        "tiago_description/robots/tiago_dual.urdf",
        "allegro_hand_description/urdf/allegro_left_hand.urdf",
        "a1_description/urdf/a1.urdf",
        "go2_description/urdf/go2.urdf",
        "solo_description/robots/solo12.urdf",
        "anymal_c_simple_description/urdf/anymal.urdf",
        "anymal_b_simple_description/robots/anymal-kinova.urdf",
        "b1_description/urdf/b1-z1.urdf",
        "cassie_description/robots/cassie.urdf",
        "bolt_description/robots/bolt.urdf",
        "talos_data/robots/talos_reduced.urdf",
        "g1_description/urdf/g1_29dof_rev_1_0.urdf",
        "romeo_description/urdf/romeo_small.urdf",
        "icub_description/robots/icub_reduced.urdf",
        "hextilt_description/urdf/hextilt_flying_arm_5.urdf",
    ),
}


def errors(model: pin.Model, rng: np.random.Generator, samples: int = 10) -> dict[str, float]:
    """Largest difference between each function and Pinocchio's, over random states."""
    body, data = RigidBody(model), model.createData()
    q, v, a = body.symbols()
    deepest = max(
        range(model.nframes), key=lambda i: len(model.supports[model.frames[i].parentJoint])
    )
    compute = {
        "poses": ca.Function(
            "poses", [q], [ca.vertcat(*(_column(x) for x in body.joint_poses(q)))]
        ),
        "frame": ca.Function("frame", [q], [_column(body.frame_pose(q, deepest))]),
        "jacobian": ca.Function("jacobian", [q], [body.frame_jacobian(q, deepest)]),
        "rnea": ca.Function("rnea", [q, v, a], [body.rnea(q, v, a)]),
        "rnea derivatives": ca.Function(
            "derivatives", [q, v, a], [ca.horzcat(*body.rnea_derivatives(q, v, a))]
        ),
        "crba": ca.Function("crba", [q], [body.crba(q)]),
        "center of mass": ca.Function("com", [q], [body.center_of_mass(q)]),
        "centroidal momentum": ca.Function("momentum", [q, v], [body.centroidal_momentum(q, v)]),
    }
    worst = dict.fromkeys(compute, 0.0)
    for _ in range(samples):
        state = (
            pin.randomConfiguration(model, np.full(model.nq, -2.0), np.full(model.nq, 2.0)),
            rng.normal(size=model.nv),
            rng.normal(size=model.nv),
        )
        truth = _pinocchio(model, data, deepest, *state)
        for name, function in compute.items():
            mine = np.array(function(*state[: function.n_in()]))
            worst[name] = max(worst[name], _distance(mine, truth[name]))
    return worst


def actuated_error(model: RobotModel, rng: np.random.Generator, samples: int = 10) -> float:
    """The same for the torques of the actuated joints: followers and continuous joints mapped."""
    function, G = inverse_dynamics_derivatives(model), model.G
    worst = 0.0
    for _ in range(samples):
        q, v, a = rng.uniform(-2, 2, model.n), *rng.normal(size=(2, model.n))
        state = model.full(q), G @ v, G @ a
        tau = pin.rnea(model.model, model.data, *state)
        blocks = pin.computeRNEADerivatives(model.model, model.data, *state)
        truth = [G.T @ tau[:, None], *(G.T @ block @ G for block in _whole(blocks))]
        for mine, right in zip(function(q, v, a), truth, strict=True):
            worst = max(worst, _distance(np.array(mine), right))
    return worst


def _pinocchio(
    model: pin.Model, data: pin.Data, frame: int, q: Array, v: Array, a: Array
) -> dict[str, Array]:
    derivatives = np.hstack(_whole(pin.computeRNEADerivatives(model, data, q, v, a)))
    M = pin.crba(model, data, q)
    pin.forwardKinematics(model, data, q)
    placement = pin.updateFramePlacement(model, data, frame)
    return {
        "poses": np.concatenate([_flat(T) for T in data.oMi])[:, None],
        "frame": _flat(placement)[:, None],
        "jacobian": np.reshape(
            pin.computeFrameJacobian(model, data, q, frame, pin.LOCAL_WORLD_ALIGNED), (6, -1)
        ),
        "rnea": pin.rnea(model, data, q, v, a)[:, None],
        "rnea derivatives": derivatives,
        "crba": np.triu(M) + np.triu(M, 1).T,
        "center of mass": pin.centerOfMass(model, data, q)[:, None],
        "centroidal momentum": pin.computeCentroidalMomentum(model, data, q, v).vector[:, None],
    }


def _whole(blocks: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """Pinocchio fills only the upper triangle of the mass matrix."""
    dq, dv, da = blocks
    return dq, dv, np.triu(da) + np.triu(da, 1).T


def _column(pose: tuple[ca.SX, ca.SX]) -> ca.SX:
    return ca.vertcat(ca.vec(pose[0]), pose[1])


def _flat(T: pin.SE3) -> Array:
    return np.concatenate([T.rotation.T.reshape(-1), T.translation])


def _distance(a: Array, b: Array) -> float:
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a - b).max(initial=0.0))


def urdf_files(robots: Path | None) -> list[Path]:
    """All URDFs that are here."""
    site = Path(sysconfig.get_paths()["purelib"])
    files = [site / folder / name for folder, names in URDFS.items() for name in names]
    if robots is not None:
        files += sorted(robots.glob("*/robot.urdf"))
    return [file for file in files if file.is_file()]


def measure(file: Path, samples: int, rng: np.random.Generator) -> dict[str, object]:
    """Errors of one robot, and how long its functions took to build and check."""
    start = time.perf_counter()
    robot = RobotModel.from_urdf(file)
    family = robot.embodiment.family
    if any(kind in family for kind in FLOATING):
        model = pin.buildModelFromXML(robot.embodiment.urdf, pin.JointModelFreeFlyer())
    else:
        model = robot.model
    worst = errors(model, rng, samples)
    worst["actuated torques"] = actuated_error(robot, rng, samples)
    name = file.parent.name if file.name == "robot.urdf" else file.stem
    return {
        "robot": name,
        "family": family,
        "root": model.joints[1].shortname() if model.njoints > 1 else "",
        "nv": model.nv,
        "seconds": round(time.perf_counter() - start, 2),
        **worst,
    }


def main() -> int:
    """Print the table; with ``--json`` also write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", type=Path, help="folder with NAME/robot.urdf")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    pin.seed(0)
    rows, missed = [], []
    for file in urdf_files(arguments.robots):
        try:
            row = measure(file, arguments.samples, rng)
        except ReportedError as error:  # a URDF that is refused has nothing to compare
            print(f"{file.parent.name}/{file.name}: {error.problem}", flush=True)
            continue
        rows.append(row)
        worst = {k: x for k, x in row.items() if isinstance(x, float) and k != "seconds"}
        name = max(worst, key=lambda k: worst[k])
        if not worst[name] <= BAR:
            missed.append(row["robot"])
        print(
            f"{row['robot']!s:28} {row['family']!s:20} nv {row['nv']:3}"
            f"  worst {worst[name]:.1e} ({name})  {row['seconds']:.1f} s",
            flush=True,
        )
    print(f"{len(rows) - len(missed)} of {len(rows)} robots within {BAR:g}; missed: {missed}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 1 if missed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
