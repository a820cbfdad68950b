"""The tables of states: complete, reachable, and refusing what cannot happen."""

from __future__ import annotations

from enum import StrEnum

import pytest

from orders import lifecycle
from orders.lifecycle import Life, LineStatus, OrderStatus, PoStatus, WrongState, move, order_event


def test_every_table_is_whole() -> None:
    for kind, life in lifecycle.TRANSITIONS.items():
        lifecycle.validate(kind, life)
        assert set(life.table) == set(kind)


class Light(StrEnum):
    RED = "red"
    GREEN = "green"
    OFF = "off"


@pytest.mark.parametrize(
    ("life", "complaint"),
    [
        (Life(Light.RED, frozenset({Light.OFF}), {Light.RED: {"go": Light.GREEN}, Light.GREEN: {}}), "one row"),
        (
            Life(
                Light.RED,
                frozenset({Light.OFF}),
                {Light.RED: {"go": Light.GREEN}, Light.GREEN: {"stop": Light.RED}, Light.OFF: {}},
            ),
            "nothing leads to off",
        ),
        (
            Life(
                Light.RED,
                frozenset({Light.OFF}),
                {Light.RED: {"go": Light.GREEN}, Light.GREEN: {}, Light.OFF: {"on": Light.RED}},
            ),
            "nothing leads to off",
        ),
        (
            Life(
                Light.RED,
                frozenset({Light.OFF}),
                {Light.RED: {"go": Light.GREEN, "cut": Light.OFF}, Light.GREEN: {}, Light.OFF: {}},
            ),
            "marked wrongly",
        ),
    ],
)
def test_a_table_with_a_hole_stops_the_process_at_boot(life: Life[Light], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        lifecycle.validate(Light, life)


def test_an_unknown_transition_raises() -> None:
    assert move(PoStatus.QUEUED, "lose") is PoStatus.UNKNOWN
    for state, event in (
        (PoStatus.REFUSED, "accept"),
        (OrderStatus.EXPIRED, "confirm"),
        (LineStatus.SHIPPED, "cancel"),
        (PoStatus.UNKNOWN, "cancel"),
        (LineStatus.PLACED, "no such event"),
    ):
        with pytest.raises(WrongState) as refused:
            move(state, event)
        assert refused.value.status == 409 and refused.value.facts["status"] == state.value


def test_unknown_never_leads_to_refused_without_the_vendors_word() -> None:
    ways = {event for event, end in lifecycle.PURCHASE_ORDER.table[PoStatus.UNKNOWN].items() if end is PoStatus.REFUSED}
    assert ways == {"refuse"}


@pytest.mark.parametrize(
    ("lines", "event"),
    [
        ("placed", "reroute"),
        ("placed accepted", "reroute"),
        ("accepted accepted", "accept"),
        ("accepted shipped", "accept"),
        ("shipped delivered", "ship"),
        ("accepted cancelled", "accept"),
        ("cancelling cancelling", "ask_cancel"),
        ("cancelling cancelled", "ask_cancel"),
        ("cancelling accepted", "accept"),
        ("rerouting accepted", "reroute"),
        ("delivered cancelled", "complete"),
        ("delivered unsupplied", "complete"),
        ("cancelled cancelled", "cancel"),
        ("unsupplied cancelled", "give_up"),
    ],
)
def test_an_order_follows_its_lines(lines: str, event: str) -> None:
    assert order_event([LineStatus(name) for name in lines.split()]) == event
