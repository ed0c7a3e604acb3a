"""icl-vla: robots that learn in context: a URDF, ten demonstrations, frozen weights."""

__version__ = "0.1.0"
