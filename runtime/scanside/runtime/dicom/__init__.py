"""DICOM in and out: a series becomes a `Volume`, a mask becomes a SEG. Only this package knows DICOM."""
