"""Lottery tickets in JAX."""
