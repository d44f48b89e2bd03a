"""Metrics of the field's benchmarks, each as its benchmark defines it.

They take texts and numbers and give numbers; no model is asked to judge.
"""
