"""A data set that is drawn by a program, and the small detector that is trained on it."""
