"""Encoders by name, as ``--encoder`` gives it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from icl_vla_embodiments import ReportedError

from .backbone import Backbone, SceneBackbone
from .components import ComponentEncoder
from .learned import LearnedEncoder, schema_with
from .patches import PatchBackbone
from .tokens import Encoder

COMPONENTS, LEARNED = "components", "learned"
DEFAULT = LEARNED


def encoder_of(name: str, components: ComponentEncoder) -> Encoder:
    """The encoder of this name, for the robot that the given one is for.

    Args:
        name: ``components``; ``learned``, with the package's weights; the folder of a checkpoint
            that ``icl-vla train encoder`` has written; or any vision model that ``transformers``
            loads, by its name on the hub or its folder.
        components: That of the robot.

    Raises:
        ReportedError: There is no such encoder.
    """
    if name == COMPONENTS:
        return components
    return LearnedEncoder(components.model, components.hulls, components.reach, backbone(name))


def with_words(encoder: Encoder) -> Encoder:
    """An encoder for the same robot that has learned what things are called."""
    if isinstance(encoder, LearnedEncoder) and isinstance(encoder.backbone, SceneBackbone):
        return encoder
    assert isinstance(encoder, ComponentEncoder | LearnedEncoder)
    return LearnedEncoder(encoder.model, encoder.hulls, encoder.reach, backbone(LEARNED))


def schema_of(name: str) -> str:
    """What tokens of the encoder of this name are called, for any robot.

    Raises:
        ReportedError: There is no such encoder.
    """
    return ComponentEncoder.schema if name == COMPONENTS else schema_with(backbone(name))


@cache
def backbone(name: str) -> Backbone:
    """The one of this name; read once a process.

    Raises:
        ReportedError: There is none.
    """
    if name == LEARNED:
        return SceneBackbone.from_pretrained()
    folder = Path(name)
    if SceneBackbone.lies_in(folder):
        return SceneBackbone.from_pretrained(folder)
    try:
        return PatchBackbone.of(name)
    except ReportedError as error:
        if error.where == name:  # it is no model: perhaps none was meant
            ours = (COMPONENTS, LEARNED, "a folder that `icl-vla train encoder` has written")
            error.valid = (*ours, *(error.valid or ()))
        raise
