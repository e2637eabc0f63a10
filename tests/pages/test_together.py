"""What stands on the screen of items that are decided together: every argument of theirs, whatever it is called."""

from typing import Any

from pages.together import MOST_COLUMNS, _common, line_of
from review.alike import differing
from review.items import ReviewItem
from tests.builders import a_request, an_action, an_item


def refund(order_id: str, **args: Any) -> ReviewItem:  # noqa: ANN401 -- JSON values
    return an_item(request=a_request(action=an_action(order_id=order_id, **args)))


def test_no_argument_stands_in_the_place_of_another_that_could_be_called_alike() -> None:
    args: dict[str, Any] = {"refund": {"amount": "99999.00"}, "refund.amount": "9.90"}
    items = [refund("A-1", **args), refund("A-2", **args)]

    shown = "".join(_common(items, differing(items)))

    assert "99999.00" in shown
    assert "9.90" in shown
    assert "A-1" not in shown


def test_no_value_of_several_lines_reads_like_another_argument() -> None:
    names = [f"a{number}" for number in range(MOST_COLUMNS)]
    items = [refund(each, note=f"{each}\na0: fine", **dict.fromkeys(names, each)) for each in ("x", "y")]

    line = line_of(items[0], differing(items), is_in=True)

    told = line.cells["at"].text.splitlines()
    assert told == ['order_id: "x"', 'note: "x\\na0: fine"', *(f'{name}: "x"' for name in names)]
