"""Policies that read demonstrations and act; their weights never change."""
