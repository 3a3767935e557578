"""What destinations have said they take: the sender asks, and who makes objects reads it without asking anybody."""

from scanside.runtime.appliance.store.database import Database, clock


def keep_answer(
    database: Database, destination: str, sop_class: str, takes: bool, now: float | None = None
) -> None:
    """Keep what a destination said of a SOP class, in place of what it said before."""
    with database.transaction() as write:
        write.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (destination, sop_class, takes, clock(now))
        )


def takers(database: Database, sop_class: str) -> frozenset[str]:
    """Destinations that said they take a SOP class; who has not been asked, or could not be, is not among them."""
    rows = database.rows("SELECT destination FROM answers WHERE sop_class = ? AND takes", (sop_class,))
    return frozenset(str(row["destination"]) for row in rows)
