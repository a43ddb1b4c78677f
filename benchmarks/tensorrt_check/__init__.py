"""What only a GPU can show of engines of TensorRT; see ``__main__``."""
