"""Exported models: whole programs, from `torch.export` or in ONNX, that only predict."""
