"""The facade for Python programs and notebooks; `energy_forecast` exports its public names."""
