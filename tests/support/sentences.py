"""What every message for the user must be."""


def assert_one_sentence(message: str, *words: str) -> None:
    """One line, ended by a full stop, saying what to do, naming `words`, without machine talk."""
    assert message.endswith("."), message
    assert "\n" not in message, message
    assert ";" in message or ":" in message, f"no advice: {message}"
    for talk in ("Traceback", "itk::", "ITK ERROR", "sitk::", "NoneType", "0x", "Error("):
        assert talk not in message, message
    for word in words:
        assert word in message, f"{word!r} not in: {message}"
