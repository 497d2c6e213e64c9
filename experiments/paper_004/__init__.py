"""Frankle & Carbin, The Lottery Ticket Hypothesis: Training Pruned Neural Networks (arXiv v1)."""
