"""The image door: files and DICOM folders become cases, cases become volumes, masks become files."""
