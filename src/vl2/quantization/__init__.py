"""Quantised weights: what is stored in how many bits, modules that compute with it, checkpoints."""
