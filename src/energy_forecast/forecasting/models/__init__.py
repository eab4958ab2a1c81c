"""Single point models and their common parts: protocols, training set, fallback without weather."""
