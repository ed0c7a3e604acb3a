"""The control loop, its guardrail, and recording."""
