"""The vocabulary that every other package speaks: standard library, NumPy and Pillow only."""
