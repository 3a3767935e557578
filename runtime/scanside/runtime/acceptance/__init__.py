"""Acceptance on site: one run of `scanside accept`, its record, and what changed since another run.

`record.py` is the record that command, page and terminal read; the other modules each make one family of checks.
"""
