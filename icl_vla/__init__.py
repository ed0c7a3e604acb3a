"""icl-vla: robots that learn in context, from a URDF and ten demonstrations, with frozen weights."""

__version__ = "0.1.0"
