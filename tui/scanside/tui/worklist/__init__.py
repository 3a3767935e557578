"""Every study: where it is, what came of it, and what needs a person."""
