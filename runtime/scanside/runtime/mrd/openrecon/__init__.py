"""OpenRecon and FIRE: the files that a container needs beside the server, and what is wrong with such files."""
