"""Tensor functions of DeepSeek-VL2 in plain torch; nothing here knows of transformers.

Where a function is arranged for speed, a readable twin stands beside it (its name starts with
`plain_`) and a test compares the two.
"""
