"""What a set of tracking events means, in whatever order it came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from connectors.contracts import ShipmentStatus as S
from fulfillment.parcels import ParcelState, Portion, Scan, line_state, parcel_state

T = datetime(2026, 5, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return T + timedelta(hours=hours)


def scan(status: S, hours: float, source: str = "carrier", **more: object) -> Scan:
    return Scan(source, status, at(hours), **more)  # type: ignore[arg-type]


scans = st.lists(
    st.builds(
        Scan, st.sampled_from(["carrier", "vendor", "manual"]), st.sampled_from(list(S)), st.integers(0, 5).map(at),
        st.sampled_from([None, "bad_address"]), st.booleans(),
    ),
    max_size=10,
)  # fmt: skip


@given(scans, st.randoms(use_true_random=False))
def test_shuffled_and_doubled_events_converge(events: list[Scan], random: object) -> None:
    again = events + events[: len(events) // 2]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert parcel_state(again) == parcel_state(events)


@given(scans)
def test_only_a_carriers_scan_delivers(events: list[Scan]) -> None:
    state = parcel_state([e for e in events if (e.source, e.status) != ("carrier", S.DELIVERED)])
    assert state.delivered_at is None
    assert state.status is not S.DELIVERED


def test_a_vendors_word_is_shown_and_ends_nothing() -> None:
    state = parcel_state([scan(S.DELIVERED, 1, "vendor")])
    assert (state.status, state.vendor_status, state.delivered_at) == (S.SHIPPED, S.DELIVERED, None)
    confirmed = parcel_state([scan(S.DELIVERED, 1, "vendor"), scan(S.DELIVERED, 2)])
    assert (confirmed.status, confirmed.delivered_at) == (S.DELIVERED, at(2))


def test_a_late_scan_from_earlier_changes_no_later_state() -> None:
    state = parcel_state([scan(S.DELIVERED, 5), scan(S.IN_TRANSIT, 6), scan(S.SHIPPED, 1)])
    assert (state.status, state.delivered_at, state.first_scan_at) == (S.DELIVERED, at(5), at(1))


def test_a_withdrawn_scan_counts_for_nothing_even_when_the_withdrawal_came_first() -> None:
    wrong, withdrawal = scan(S.DELIVERED, 5), scan(S.DELIVERED, 5, void=True)
    for events in ([wrong, withdrawal], [withdrawal, wrong]):
        assert parcel_state([scan(S.IN_TRANSIT, 1), *events]).delivered_at is None
    corrected = parcel_state([withdrawal, wrong, scan(S.DELIVERED, 7)])
    assert corrected.delivered_at == at(7)


def test_what_is_delivered_after_it_turned_back_was_delivered_to_its_sender() -> None:
    back = parcel_state([scan(S.RETURNED, 5), scan(S.DELIVERED, 9), scan(S.SHIPPED, 1)])
    assert (back.status, back.delivered_at, back.gone) == (S.RETURNED, None, True)
    sent_back = parcel_state([scan(S.DELIVERED, 9), scan(S.DELIVERED, 4), scan(S.RETURNED, 5)])  # by the buyer, later
    assert (sent_back.status, sent_back.delivered_at) == (S.RETURNED, at(4))
    mistaken = parcel_state([scan(S.RETURNED, 5), scan(S.DELIVERED, 9), scan(S.RETURNED, 5, void=True)])
    assert (mistaken.status, mistaken.delivered_at) == (S.DELIVERED, at(9))
    said = parcel_state([scan(S.RETURNED, 5, "vendor"), scan(S.RETURNED, 6, "manual"), scan(S.DELIVERED, 9)])
    assert (said.status, said.delivered_at) == (S.DELIVERED, at(9))  # only the carrier turns a parcel back


def test_refusal_and_bad_address_need_the_carriers_evidence() -> None:
    assert parcel_state([scan(S.REFUSED, 1)]).excused == "refused"
    assert parcel_state([scan(S.EXCEPTION, 1, cause="bad_address")]).excused == "bad_address"
    assert parcel_state([scan(S.REFUSED, 1, "vendor"), scan(S.REFUSED, 1, "manual")]).excused is None


def arrived(hours: float | None, status: S = S.IN_TRANSIT) -> ParcelState:
    return ParcelState(S.DELIVERED if hours is not None else status, None if hours is None else at(hours))


def test_the_last_unit_ends_the_clock() -> None:
    two = [Portion(2, arrived(5)), Portion(1, arrived(None))]
    assert line_state(3, two, []).delivered_at is None
    assert line_state(3, two, []).delivered_units == 2
    assert line_state(3, [Portion(2, arrived(5)), Portion(1, arrived(9))], []).delivered_at == at(9)


def test_what_a_vendor_never_itemised_has_arrived_when_every_such_parcel_has() -> None:
    assert line_state(3, [], [arrived(5), arrived(None)]).delivered_at is None
    assert line_state(3, [], [arrived(5), arrived(8)]).delivered_at == at(8)
    assert line_state(3, [Portion(2, arrived(9))], [arrived(5)]).delivered_at == at(9)
    assert line_state(3, [], []).delivered_at is None


def test_units_of_a_returned_parcel_arrive_in_the_next_one() -> None:
    gone = arrived(None, S.RETURNED)
    assert line_state(2, [Portion(2, gone), Portion(2, arrived(9))], []).delivered_at == at(9)
    assert line_state(2, [Portion(2, gone)], [arrived(7)]).delivered_at == at(7)


@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(1, 5), st.none() | st.integers(0, 9)), max_size=5),
    st.lists(st.none() | st.integers(0, 9), max_size=3),
)
def test_a_line_is_delivered_exactly_when_all_its_units_are(
    quantity: int, portions: list[tuple[int, int | None]], unlisted: list[int | None]
) -> None:
    state = line_state(quantity, [Portion(q, arrived(h)) for q, h in portions], [arrived(h) for h in unlisted])
    assert (state.delivered_at is not None) == (state.delivered_units == quantity)
    assert 0 <= state.delivered_units <= quantity
