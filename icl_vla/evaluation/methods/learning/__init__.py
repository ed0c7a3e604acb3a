"""What the learned baselines share: their inputs, networks, training and storage."""
