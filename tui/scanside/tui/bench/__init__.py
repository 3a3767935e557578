"""Measuring this machine when nobody needs it."""
