import tests.support.calm  # noqa: F401
