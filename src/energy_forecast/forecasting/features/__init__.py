"""What a model may know of a target hour when it is forecast: of the calendar, the load before, the weather."""
