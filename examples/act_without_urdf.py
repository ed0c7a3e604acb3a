"""Five demonstrations in somebody else's simulator, then the learned policy there: no URDF.

    python examples/act_without_urdf.py

``Crane`` stands for any environment with ``reset`` and ``step``. All that is said of it is the
action space, where its hand is, and what its camera sees.
"""

from dataclasses import replace

import numpy as np
from somebody_elses_simulator import HAND, SPACE, Crane, PutOnMark

from icl_vla.policy import IclVlaPolicy
from icl_vla_embodiments import Observation, SpaceState, se3
from icl_vla_retrieval import CameraTrack, Demonstration

TASK = PutOnMark()


def observe(seen: dict, step: int) -> Observation:
    """What the crane shows: a calibrated RGB-D picture, the hand's opening and its pose."""
    x, y, down = seen["joints"][:3]
    pose = se3.pose(np.diag([1.0, -1.0, -1.0]), (x, y, 0.435 - down))
    return replace(TASK.observation(seen, {}), time=step / SPACE.rate, poses={HAND: pose})


def act(crane: Crane, seed: int, policy: IclVlaPolicy, demonstrations: list) -> bool:
    """One attempt: of every chunk of eight steps, four are taken."""
    episode = policy.start(demonstrations, TASK.instruction, SPACE)
    seen, _ = crane.reset(seed=seed)
    for step in range(0, 200, 4):
        chunk = episode.act(observe(seen, step))
        if chunk.done:
            break
        for action in chunk.native[:4]:
            seen, _, _, _, info = crane.step(action)
    return info["done"]


def demonstrate(crane: Crane, seed: int) -> Demonstration:
    """What the operator saw and did, as arrays."""
    seen, _ = crane.reset(seed=seed)
    operator = TASK.operator(crane, np.random.default_rng(seed))
    looks, actions = [], []
    while (target := operator(look := observe(seen, len(looks)))) is not None:
        state = SpaceState(look.poses, look.q, {HAND: look.effectors[HAND].gripper})
        looks.append(look)
        actions.append(SPACE.clip(SPACE.encode([target], state))[0])
        seen = crane.step(actions[-1])[0]
    first = looks[0].cameras["front"]
    return Demonstration.from_arrays(
        q=[look.q for look in looks],
        actions=actions,
        action_space=SPACE,
        embodiment="crane",
        instruction=TASK.instruction,
        poses={HAND: [look.poses[HAND] for look in looks]},
        grippers={HAND: [look.effectors[HAND].gripper for look in looks]},
        cameras={
            "front": CameraTrack.from_arrays(
                np.stack([look.cameras["front"].rgb for look in looks]),
                np.stack([look.cameras["front"].depth for look in looks]),
                intrinsics=first.intrinsics,
                T_mount_camera=first.T_mount_camera,
            )
        },
    )


def main() -> None:
    """Five demonstrations, four new scenes."""
    crane, policy = Crane(), IclVlaPolicy.from_pretrained("default")
    demonstrations = [demonstrate(crane, seed) for seed in range(5)]
    print(f"{sum(act(crane, seed, policy, demonstrations) for seed in range(50, 54))} of 4")


if __name__ == "__main__":
    main()
