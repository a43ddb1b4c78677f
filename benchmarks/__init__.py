"""What we measure: commands that anyone can repeat; their results are in ``results/``."""
