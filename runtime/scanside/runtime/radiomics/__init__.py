"""Radiomics: what is measured (`config`), its names (`names`), measuring (`extract`), and proof (`conformance`).

pyradiomics computes the values. It is imported when something is measured, not before.
"""
