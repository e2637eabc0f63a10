"""Column types: what goes in comes out, on either database."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from db.types import FreeText, Instant, instant, microseconds

SQLITE = make_url("sqlite://").get_dialect()()
POSTGRES = make_url("postgresql+psycopg://").get_dialect()()


@given(st.text(alphabet=st.sampled_from("\0\\0ab\n🧵")))
def test_free_text_comes_back_and_holds_no_nul(text: str) -> None:
    kept = FreeText().process_bind_param(text, POSTGRES)

    assert kept is not None
    assert "\0" not in kept
    assert FreeText().process_result_value(kept, POSTGRES) == text


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])))
def test_an_instant_keeps_its_microseconds_and_its_order(at: datetime) -> None:
    assert instant(microseconds(at)) == at
    assert microseconds(at + timedelta(microseconds=1) if at.year < 9999 else at) >= microseconds(at)


def test_a_time_without_a_zone_is_no_instant() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Instant().process_bind_param(datetime(2026, 1, 1), SQLITE)  # noqa: DTZ001 -- the very mistake
