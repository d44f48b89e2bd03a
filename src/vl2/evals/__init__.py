"""Measuring: tasks with known answers, run over a model, counted exactly."""
