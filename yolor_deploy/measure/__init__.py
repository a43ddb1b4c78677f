"""Numbers about artifacts: how close, how good, how fast. Sessions are handed in."""
