"""The sliding window and the labels on a device: the same ONNX graphs under every provider of ONNX Runtime."""
