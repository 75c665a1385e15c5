"""Kills a local stack's processes and Redis with its data while it works, and proves that nothing came of it."""
