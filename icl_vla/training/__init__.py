"""Training of learned policies: none yet; the vote has nothing to train."""
