"""Single point models, and what they share: protocols, training set, fallback without weather."""
