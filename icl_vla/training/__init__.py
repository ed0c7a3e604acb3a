"""How the learned policy is trained: pseudo-demonstrations, moments made of them, the loop."""
