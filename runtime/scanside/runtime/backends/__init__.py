"""Backends that run a network. Each is a module with `NAME`, `missing()`, `version()` and `open_session()`."""
