"""The user's own functions: every module in this package is imported, so adding a file registers what it holds.

A file here says `from chalicelib.functions import TaskError, function` and decorates with `@function("name")`.
"""

from __future__ import annotations

import importlib
import pkgutil

from chalicelib.domain.errors import TaskError
from chalicelib.functions.registry import HANDLERS, Context, function

__all__ = ["HANDLERS", "Context", "TaskError", "function", "import_all"]


def import_all() -> list[str]:
    """Import every module of this package and return their names. Raises whatever a module raises."""
    names = [module.name for module in pkgutil.iter_modules(__path__, f"{__name__}.")]
    for name in names:
        importlib.import_module(name)
    return names


import_all()
