"""The `scanside` command: data on stdout, words on stderr."""
