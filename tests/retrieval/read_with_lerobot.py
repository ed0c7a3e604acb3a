"""Reads a dataset folder with the real lerobot and writes what it saw; a test runs it.

lerobot imports torchvision, whose compiled operators do not load beside a CPU build of torch of
another version. Declaring the two schemas that its Python part refers to is enough to import it.
"""

import json
import sys

import numpy as np
import torch

library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import lerobot  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

root, out = sys.argv[1:]
dataset = LeRobotDataset("local/bank", root=root)
with_video = bool(dataset.meta.video_keys)
rows = dataset.hf_dataset if with_video else dataset  # lerobot's own video decoders need more
picked = [rows[i] for i in range(len(dataset))]
columns = ("observation.state", "action", "timestamp", "frame_index", "episode_index", "index")
arrays = {key: np.stack([np.asarray(row[key]) for row in picked]) for key in columns}
tasks = dataset.meta.tasks
arrays["task"] = np.array([str(tasks.iloc[int(row["task_index"])].name) for row in picked])
np.savez(out, **arrays)
episodes = dataset.meta.episodes
print(
    json.dumps(
        {
            "version": lerobot.__version__,
            "episodes": dataset.num_episodes,
            "frames": dataset.num_frames,
            "fps": dataset.fps,
            "videos": {
                key: [
                    [
                        str(dataset.meta.get_video_file_path(i, key)),
                        row[f"videos/{key}/from_timestamp"],
                    ]
                    for i, row in enumerate(episodes)
                ]
                for key in dataset.meta.video_keys
            },
            "action_max": np.asarray(dataset.meta.stats["action"]["max"]).tolist(),
        }
    )
)
