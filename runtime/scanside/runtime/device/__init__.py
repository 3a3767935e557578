"""From the cropped image to labels on a device, in array code that runs on numpy and on CuPy."""
