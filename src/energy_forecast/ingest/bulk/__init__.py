"""Fast paths of a large batch: binary COPY, new partitions, and rows that are stored already."""
