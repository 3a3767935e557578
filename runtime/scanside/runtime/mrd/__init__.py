"""MRD streams: images come from a scanner's reconstruction, label images go back into the running examination."""
