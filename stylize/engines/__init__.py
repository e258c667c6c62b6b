"""Ways to run a network: PyTorch, ONNX Runtime and OpenVINO, each behind :class:`stylize.engines.engine.Engine`."""
