"""Robots that come with the program, each through the same hook that a vendor's comes through."""
