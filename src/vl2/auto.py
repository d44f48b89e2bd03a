"""Registration with the Auto classes of transformers, at the first moment when it is needed.

`AutoConfig.register` and its sisters want classes, and ours need torch and transformers, which take
seconds to import. So `import vl2` registers at once only if transformers is already there.
Otherwise it leaves a finder in `sys.meta_path` that watches imports of `transformers` and `vl2`
modules, and registers as soon as the Auto classes are loaded and no watched module is half
imported: in between, a class that registration needs might not exist yet.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_AUTO_MODULE = "transformers.models.auto.configuration_auto"
_REGISTRATIONS = ("vl2.model.registration", "vl2.quantization.registration")


def register() -> None:
    """Makes the Auto classes know `deepseek_vl_v2`, and the quantisers the method `vl2`."""
    for module in _REGISTRATIONS:
        importlib.import_module(module).register()


def register_or_watch() -> None:
    """Registers now if transformers has been imported, else when its Auto classes are."""
    if "transformers" in sys.modules:
        register()
    elif not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())


class _Watcher:
    """Counts the watched modules that are being imported in this thread; registers when none is.

    A finder by its methods alone: importing `importlib.abc` to derive from it would cost as much
    time as a third of `vl2 --help`.
    """

    def __init__(self) -> None:
        self._open = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in {"transformers", "vl2"}:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            self._wrap(spec)
        return spec

    def _wrap(self, spec: ModuleSpec) -> None:
        # The method of this one loader is replaced, not the loader: resources, sources and
        # tracebacks go on working.
        loader = spec.loader
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return

        def exec_module(module: ModuleType) -> None:
            self._open.count = getattr(self._open, "count", 0) + 1
            try:
                execute(module)
            finally:
                self._open.count -= 1
            if self._open.count == 0 and _AUTO_MODULE in sys.modules:
                self._finish()

        loader.exec_module = exec_module  # type: ignore[union-attr]

    def _finish(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            register()
