"""Forecasts of a city's energy consumption, stored and scored in PostgreSQL."""

import os

# Set before numpy is first imported. The linear systems are many and small: on a busy machine with two cores, one
# training step took 75 s with two threads and 20 s with one. This overrides the environment, because the number of
# threads changes the order of additions, and so the same data would give a different model.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
