"""Compiles the kernels when the package is installed or packed; without a compiler, goes on."""

import importlib.util
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = "src/vl2/ops/kernels/build.py"
_PLACE = "vl2/ops/kernels"


class CustomBuildHook(BuildHookInterface):
    """Adds the compiled kernels to a wheel; an editable install finds them in the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs before a wheel is packed.

        Args:
            version: `editable` or `standard`.
            build_data: what goes into the wheel.
        """
        if self.target_name != "wheel":
            return
        kernels = _load(Path(self.root) / _BUILD)
        try:
            if version == "editable":
                kernels.build()
                return
            self._folder = tempfile.TemporaryDirectory()
            library = kernels.build(Path(self._folder.name) / kernels.LIBRARY.name)
        except kernels.BuildError as error:
            self.app.display_warning(f"vl2 is installed without compiled kernels: {error}")
            return
        build_data["force_include"][str(library)] = f"{_PLACE}/{library.name}"
        # The library depends on the system and the processor, not on the version of Python.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"


def _load(file: Path) -> ModuleType:
    # By its path: the package itself cannot be imported, for torch is not here yet.
    spec = importlib.util.spec_from_file_location("vl2_kernels_build", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
