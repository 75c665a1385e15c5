"""Draws a workflow, and a run of it, as an SVG picture."""

from infra.draw.svg import draw

__all__ = ["draw"]
