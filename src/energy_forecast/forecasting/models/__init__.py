"""The single models: what each learns, and how it says one number for an hour."""
