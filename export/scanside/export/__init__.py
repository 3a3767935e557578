"""From trained models to bundles: nnU-Net results folder → ONNX → parity → bundle."""
