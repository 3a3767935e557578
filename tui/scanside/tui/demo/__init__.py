"""`scanside tui --demo`: a service of its own on synthetic patients, in a folder that is removed afterwards."""
