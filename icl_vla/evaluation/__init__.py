"""How often a policy works, against what, and with which certainty."""
