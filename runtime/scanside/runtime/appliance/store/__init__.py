"""Everything that must survive a power cut: one SQLite file, changed in transactions that carry their audit entry."""
