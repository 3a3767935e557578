"""DICOM in: the storage SCP, which says yes to an instance only when it is on disk and in the store."""
