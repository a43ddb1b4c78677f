"""Average precision of artifacts on annotated images."""
