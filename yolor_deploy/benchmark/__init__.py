"""``bench``: artifacts measured side by side, and a report of it."""
