"""How a command with commands of its own shows them: whole first sentences, by what a person does, and near misses."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from typer.core import TyperGroup

_WHOLE = 1000
"""Characters of a first sentence that are shown: all of them."""


class Group(TyperGroup):
    """A group whose help cuts nothing off.

    Attributes:
        sections: Heading → names of commands; what is in none of them comes last. Empty: one list.
    """

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one list of commands a section."""
        names = self.list_commands(ctx)
        placed = {name for group in self.sections.values() for name in group}
        left = tuple(name for name in names if name not in placed)
        for heading, group in {**self.sections, ("Other" if placed else "Commands"): left}.items():
            found = [(name, self.get_command(ctx, name)) for name in group if name in names]
            rows = [(name, one.get_short_help_str(_WHOLE)) for name, one in found if one and not one.hidden]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is called, or name those that are spelled nearly so."""
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:
            near = get_close_matches(args[0], self.list_commands(ctx)) if args else []
            if near and hasattr(error, "message") and "Did you mean" not in error.message:
                error.message = f"{error.message.rstrip('.')}; did you mean {' or '.join(near)}?"
            raise
