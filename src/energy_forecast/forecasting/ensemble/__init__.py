"""The default model: base models that err differently, weighted and corrected by their recent errors."""
