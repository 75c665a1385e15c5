"""Builds and checks what is deployed: policies, the packaged template, the archive of code."""

from pathlib import Path

#: The project's folder, which holds app.py.
ROOT = Path(__file__).resolve().parents[2]
