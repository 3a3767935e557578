"""The stages of a segmentation, each a function from a record to a record. `pipeline.py` puts them in order."""
