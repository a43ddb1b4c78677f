"""ONNX graphs: written from a folded network, ended in a head, stored."""
