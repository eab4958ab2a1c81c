"""All readings with their paths over HTTP. Platform, client, API, its description and the leak tests use this list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from energy_forecast.readings import facts
from energy_forecast.tables import Schema, Table


@dataclass(frozen=True)
class Reading:
    """One reading.

    Args:
        path: its path over HTTP. Names in braces are parameters of `read`.
        read: takes a connection, and the other parameters by name; PARAMETERS has their meaning. Its docstring
            describes the reading. It reads with the rights of the transaction's role.
        schema: the columns, with their types.
        tag: the group in the description.
        has_quantiles: whether columns of quantiles such as q05 follow.
        state: takes the same, and returns a text that differs if the rows differ, from a much cheaper query. None: the
            version of an answer is computed from its rows.
        is_immutable: whether the same parameters always give the same rows.
    """

    path: str
    read: Callable[..., Table]
    schema: Schema
    tag: str
    has_quantiles: bool = False
    state: Callable[..., str] | None = None
    is_immutable: bool = False

    @property
    def name(self) -> str:
        """The name, which is the method of Platform and Client, and the operation of the API."""
        return self.read.__name__


READINGS: dict[str, Reading] = {
    one.name: one
    for one in (
        Reading("/v1/cities", facts.cities, facts.CITIES, "data"),
        Reading("/v1/cities/{city}/consumption", facts.consumption, facts.CONSUMPTION, "data"),
    )
}
