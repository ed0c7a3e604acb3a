"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_ENCODER = "learned"
ENCODERS = (
    "learned, components, a folder with an encoder's checkpoint, or a vision model of transformers"
    " (its name on the hub, or a folder)"
)

EncoderName = Annotated[
    str, typer.Option("--encoder", help=f"What makes scene tokens of pictures: {ENCODERS}.")
]
