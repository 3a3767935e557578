"""What the tensors of exported networks are called. Loads nothing, so that those without torch and onnx can ask."""

INPUT, OUTPUT = "image", "logits"
