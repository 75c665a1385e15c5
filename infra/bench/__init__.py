"""Measures what Graft costs: counts of calls first, times second, beside the bare calls that cannot be avoided."""
