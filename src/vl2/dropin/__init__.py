"""Scripts written for the original release, run by `vl2`.

`import vl2.dropin` makes the module names `deepseek_vl2` and `deepseek_vl` importable where the
original is not installed, and lets `AutoModelForCausalLM` load its model with the original's calls.
`python -m vl2.dropin SCRIPT ARGS...` runs a script that way without changing it. Both are thin:
tokens, tiles, weights and boxes are those of `vl2`. Where the original is wrong, this does the
right thing; `docs/guide/coming-from-the-original.md` lists it all.
"""

from vl2.dropin.names import install

__all__ = ["install"]

install()
