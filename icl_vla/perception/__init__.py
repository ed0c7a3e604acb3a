"""From cameras and depth to 3-D scene tokens, followed through an episode."""
