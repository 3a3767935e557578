"""Masks compared with masks: overlap, surfaces, volumes. No torch, no DICOM."""
