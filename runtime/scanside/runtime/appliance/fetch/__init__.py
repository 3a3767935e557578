"""Fetching: what a complete study lacks is looked for in configured archives (ADR 38)."""
