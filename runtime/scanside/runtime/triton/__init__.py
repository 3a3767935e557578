"""Whole cases on a Triton Inference Server: what serves them there, and the segmenter here that sends them (ADR 35)."""
