"""Machine code of CasADi functions: compiled in the background, kept, swapped in when ready.

Nothing waits for a compiler. A function runs on CasADi's virtual machine (or whatever stands in for
it) until its code is there, and for ever where there is no compiler.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import casadi as ca
import numpy as np

from icl_vla_embodiments.home import home, write_atomically
from icl_vla_embodiments.types import Array

from .dynamics import InPlace

Arrays = tuple[Array, ...]

log = logging.getLogger(__name__)

FLAGS = ("-O1", "-fPIC", "-shared")  # higher levels take twice as long for the same speed
POLL = 0.1  # [s] between looks for the finished library
AGREEMENT = 1e-9  # of compiled with interpreted results, relative to the largest
# the rename makes the library visible, whole, whether or not the asking process still lives
_SCRIPT = """source=$1 made=$2 library=$3; shift 3
"$@" "$source" -o "$made" && mv "$made" "$library"; code=$?
rm -f "$source" "$made"; exit $code"""


class Compilation:
    """The making of one function's machine code by the machine's C compiler.

    The library lies in ``ICL_VLA_HOME/compiled`` under a key of everything it depends on: the whole
    function, CasADi's version, compiler, flags and processor. One process compiles and holds a
    lock while it does; others wait for its result.

    Args:
        function: Function to compile.
        folder: Where libraries are kept, if not in ``ICL_VLA_HOME``.
        wanted: Whether to compile at all.

    Attributes:
        function: The function.
        library: Where its code is or will be; absent where there is no compiler.
    """

    def __init__(
        self, function: ca.Function, folder: Path | None = None, wanted: bool = True
    ) -> None:
        self.function = function
        self._compiler = find_compiler() if wanted else None
        self._process: subprocess.Popen[bytes] | None = None
        self._looked = -np.inf
        self._over = self._compiler is None
        if not wanted:
            return
        if self._compiler is None:
            log.info("no C compiler (cc, gcc, clang or $CC): %s stays slower", function.name())
            return
        key = cache_key(function, self._compiler)
        folder = home() / "compiled" if folder is None else folder
        self.library = folder / f"{function.name()}-{key}.so"
        if not self.library.exists():
            self._start()

    @property
    def over(self) -> bool:
        """Whether :meth:`take` will give no function any more."""
        return self._over

    def take(self) -> ca.Function | None:
        """The compiled function, once; None while there is none. It never waits."""
        now = time.monotonic()
        if self._over or now - self._looked < POLL:
            return None
        self._looked = now
        if self.library.exists():
            self._over = True
            return self._load()
        if self._process is None:
            self._start()  # whoever held the lock may have died
        elif self._process.poll() is not None and not self.library.exists():
            self._over = True
            words = self._lock.read_text(errors="replace").strip()[:400]
            log.warning("%s was not compiled, the slower code stays: %s", self.library.name, words)
        return None

    def wait(self, timeout: float) -> bool:
        """Whether the library was there within ``timeout`` [s]; for benchmarks and tests."""
        end = time.monotonic() + timeout
        while not self._over and not self.library.exists() and time.monotonic() < end:
            time.sleep(0.02)
        return not self._over and self.library.exists()

    def _load(self) -> ca.Function | None:
        try:
            compiled = ca.external(self.function.name(), str(self.library))
        except RuntimeError as error:
            log.warning("%s cannot be loaded and is removed: %s", self.library, error)
            self.library.unlink(missing_ok=True)
            return None
        log.info("%s is compiled", self.function.name())
        return compiled

    @property
    def _lock(self) -> Path:
        """Locked while a compiler runs; it holds what the compiler said."""
        return self.library.with_suffix(".lock")

    def _start(self) -> None:
        """Start the compiler, unless another process has."""
        assert self._compiler is not None
        try:
            self.library.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                if self.library.exists():
                    return
                lock.truncate(0)
                source = self.library.with_suffix(f".{os.getpid()}.c")
                generator = ca.CodeGenerator(f"{self.function.name()}.c")
                generator.add(self.function)
                write_atomically(source, generator.dump())
                made = source.with_suffix(".so")
                files = [str(path) for path in (source, made, self.library)]
                # the child inherits the open lock file, and with it the lock
                self._process = subprocess.Popen(
                    ["nice", "sh", "-c", _SCRIPT, "sh", *files, *self._compiler, *FLAGS],
                    stdin=subprocess.DEVNULL,
                    stdout=lock,
                    stderr=lock,
                    start_new_session=True,
                )
        except OSError as error:
            self._over = True
            log.warning("%s cannot be compiled: %s", self.function.name(), error)
            return
        log.warning(
            "compiling %s in the background, once; until it is done it runs slower",
            self.function.name(),
        )


class CompiledInPlace(InPlace):
    """An :class:`InPlace` function that becomes machine code as soon as there is some.

    The code is used only if it agrees with what ran before, at the inputs of that moment.

    Args:
        function: The function.
        interpreted: Fills :attr:`outputs` from :attr:`inputs` until then; None for CasADi's
            virtual machine.
        folder: See :class:`Compilation`.
        wanted: False to stay interpreted: machine code agrees to 1e-9 only, and comes when it is
            ready, so that no two runs are the same to the last bit.

    Attributes:
        compilation: The making of the code.
        compiled: Whether machine code runs.
    """

    def __init__(
        self,
        function: ca.Function,
        interpreted: Callable[[Arrays, Arrays], None] | None = None,
        folder: Path | None = None,
        wanted: bool = True,
    ) -> None:
        super().__init__(function)
        if interpreted is not None:
            self._evaluate = lambda: interpreted(self.inputs, self.outputs)
        self.compilation = Compilation(function, folder, wanted)
        self.compiled = False

    def __call__(self) -> Arrays:
        if not self.compilation.over:
            code = self.compilation.take()
            if code is not None:
                self._swap(code)
        return super().__call__()

    def _swap(self, code: ca.Function) -> None:
        before = [x.copy() for x in super().__call__()]
        kept = self.function, self._buffer, self._evaluate
        self._bind(code)
        self.compiled = all(
            np.allclose(new, old, rtol=0, atol=AGREEMENT * (1 + np.abs(old).max()), equal_nan=True)
            for new, old in zip(super().__call__(), before, strict=True)
        )
        if not self.compiled:
            log.warning("%s: the compiled code differs and is not used", code.name())
            self.function, self._buffer, self._evaluate = kept


def find_compiler() -> tuple[str, ...] | None:
    """Command of a C compiler: ``$CC``, else cc, gcc or clang; None where there is none."""
    chosen = shlex.split(os.environ.get("CC", ""))
    for command in [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]:
        path = shutil.which(command[0])
        if path is not None:
            return (str(Path(path).resolve()), *command[1:])
    return None


def cache_key(function: ca.Function, compiler: tuple[str, ...]) -> str:
    """Hash of everything that the machine code depends on."""
    binary = Path(compiler[0]).stat()
    parts = (
        function.serialize(),
        ca.__version__,  # type: ignore[attr-defined]
        *compiler,
        str(binary.st_size),
        str(binary.st_mtime_ns),
        *FLAGS,
        platform.system(),
        platform.machine(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
