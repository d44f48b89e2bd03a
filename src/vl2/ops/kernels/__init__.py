"""Compiled kernels for quantised weights and latent attention on the CPU (C, `native/`).

`build` compiles them, `library` loads them, `products` calls them with tensors.
"""
