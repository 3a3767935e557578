"""Parts that every screen has."""
