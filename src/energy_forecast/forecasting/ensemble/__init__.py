"""The model that `forecast` uses: models that err differently, weighed and corrected by how they did of late."""
