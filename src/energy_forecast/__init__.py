"""Forecasts of a city's energy consumption, kept and scored in PostgreSQL."""

import os

# Before numpy is first imported. The systems solved here are many and small: with two threads one step of learning
# took 75 s on a busy machine of two cores, with one 20 s. Whatever the environment says: threads add up in another
# order, so the same data would give another model.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
