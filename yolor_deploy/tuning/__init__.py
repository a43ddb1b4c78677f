"""Which layers of a network are worth more than 8 bits."""
