"""Opens Google's CEL runtime, mending what its binding would leak or corrupt in a long-lived process.

cel-expr-python 0.1.3 hands out `None` without owning it: on CPython 3.11, where `None` is reference counted, some
three thousand nulls in results end the process. It also never gives back what Python functions are passed and return.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chalicelib.domain.errors import ConfigurationError

try:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_strings
except ImportError as missing:
    raise ConfigurationError(
        "The CEL evaluator cel-expr-python cannot be loaded; install the version that requirements.txt pins."
    ) from missing

Json = Any
#: An object of the binding, which has no types of its own.
Handle = Any
Implementation = Callable[..., Json]

#: Added to the reference count of `None`: it cannot reach zero, as in CPython 3.12 and later.
_IMMORTAL = 1 << 60


def _keep_none_alive() -> None:
    if sys.version_info < (3, 12) and sys.getrefcount(None) < _IMMORTAL >> 1:
        ctypes.c_ssize_t.from_address(id(None)).value += _IMMORTAL


def environment(functions: dict[str, dict[int, Implementation]]) -> Handle:
    """A CEL environment with the standard library, the string functions, and `functions` by name and argument count."""
    declared = [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(f"{name}_{count}", return_type=cel.Type.DYN, parameters=[cel.Type.DYN] * count, impl=impl)
                for count, impl in overloads.items()
            ],
        )
        for name, overloads in functions.items()
    ]
    extensions = [ext_strings.ExtStrings(), cel.CelExtension("graft", declared)]
    return cel.NewEnv(variables={}, extensions=extensions)


def is_error(value: Handle) -> bool:
    """Whether a CEL result is an error (or the unknown that a missing variable gives), not a value."""
    kind = value.type()
    return bool(kind in (cel.Type.ERROR, cel.Type.UNKNOWN))


def type_name(value: Handle) -> str | None:
    """The CEL name of a type value (`int`, `list`, …), or None if `value` is no type."""
    if not isinstance(value, cel.Type):
        return None
    name: str = value.name()
    return name.partition("<")[0].lower()


def installed_version() -> str:
    """The evaluator's version. Raises ConfigurationError when its metadata is missing."""
    try:
        return version("cel-expr-python")
    except PackageNotFoundError as missing:
        raise ConfigurationError("The CEL evaluator cel-expr-python has no version; install it with pip.") from missing


def _results_leak() -> bool:
    """Whether the binding keeps a reference to what a function returns, found by trying it."""
    probe: list[Json] = []
    before = sys.getrefcount(probe)
    env = environment({"probe": {0: lambda: probe}})
    env.compile("probe()", disable_check=True).eval(data={})
    return sys.getrefcount(probe) > before


_keep_none_alive()
_LEAKS = _results_leak()


def release(results: list[Json]) -> None:
    """Give back the references that the binding kept on `results` of functions; call once, after the evaluation."""
    if _LEAKS:
        for result in results:
            if result is not None:
                ctypes.pythonapi.Py_DecRef(ctypes.py_object(result))
    results.clear()
