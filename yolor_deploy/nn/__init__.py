"""Building blocks of the authors' networks, and exact rewrites of a traced network."""
