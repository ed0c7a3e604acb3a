"""Tasks, scenes and robots in physics."""
