"""What the agents read out of messages, in the spelling in which messages come."""

from decimal import Decimal

import pytest

from agents.demo import reading
from agents.demo.cases import lines

NAMES = {str(piece["sku"]): str(piece["name"]) for piece in lines("pieces")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("please refund R-1001", ["R-1001"]),
        ("r1001 and R 1002", ["R-1001", "R-1002"]),
        ("Order no. 1013 never came", ["R-1013"]),
        ("the small ribbon, wrong shade", []),
    ],
)
def test_order_numbers_are_read_in_any_spelling(text: str, found: list[str]) -> None:
    assert reading.order_ids(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("refund of 1,450 dollars please", "1450"),
        ("Please return the 3.850 that I have paid", "3850"),
        ("Please confirm 790.00 has been credited", "790.00"),
        ("Import tax of 7,200 yen for R-1033", "7200"),
        ("I was charged CHF 300 for R-1031, it showed 280", "300"),
        ("paid 365, a friend paid 310 euros", "310"),
        ("gift wrapping was charged (15 pounds)", "15"),
        ("R-1010 was signed in on 18 October", None),
        ("three weeks late", None),
    ],
)
def test_the_sum_of_money_is_the_one_beside_a_currency_else_the_first_large_one(text: str, found: str | None) -> None:
    assert reading.amount(text) == (None if found is None else Decimal(found))


def test_a_number_that_is_no_money_can_be_taken_for_it() -> None:
    mistaken = reading.amount("receipt no. 88213, the refund went to HIS card")

    assert mistaken == Decimal(88213)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("15% in the private sale", 15),
        ("30 percent less", 30),
        ("if you meet me halfway", 50),
        ("a little", None),
    ],
)
def test_percentages_are_read(text: str, found: int | None) -> None:
    assert reading.per_cent(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4 pls asap", [4]),
        ("fifteen coats, same wool", [15]),
        ("closes for two weeks, I'd say 12 totes", [12]),
        ("SLK-CAR-07 quantity 5", [5]),
        ("Difference: SLK-RUB-03 +2", [2]),
        ("raising prices 8%", []),
    ],
)
def test_counts_leave_out_record_numbers_durations_and_percentages(text: str, found: list[int]) -> None:
    assert reading.numbers(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("for three days", 3),
        ("for a week", 7),
        ("2 weeks while i sort the money", 14),
        ("48h max", 2),
        ("till tues", None),
    ],
)
def test_durations_are_read_in_days(text: str, found: int | None) -> None:
    assert reading.days(text) == found


@pytest.mark.parametrize(
    ("text", "source", "destination"),
    [
        ("move 2 from New York to London", "New York", "London"),
        ("can we get 2 jardin from milano", "Milan", None),
        ("move 40 totes paris>london", "Paris", "London"),
        ("Paris says they've 5 spare", "Paris", None),
        ("take our 2 Belvederes back to Lyon", None, "Lyon"),
    ],
)
def test_transfers_name_where_from_and_where_to(text: str, source: str | None, destination: str | None) -> None:
    assert (reading.source(text), reading.destination(text)) == (source, destination)


@pytest.mark.parametrize(
    ("text", "sku"),
    [
        ("forward SLK-CAR-07 quantity 5", "SLK-CAR-07"),
        ("cycle count BLT-80 = 17", "LEA-BLT-80"),
        ("the marees scarf", "SLK-CAR-09"),
        ("Belvedere is stained", "RTW-COA-31"),
        ("no more cognac totes here", "BAG-HEL-01"),
        ("reserve 25 perfumes", "FRA-NUI-71"),
        ("the helianth mini", "BAG-HEL-02"),
        ("3 BAG-XYZ-77 from Lyon", "BAG-XYZ-77"),
    ],
)
def test_pieces_are_known_by_code_or_by_misspelt_name(text: str, sku: str) -> None:
    assert reading.skus(text, NAMES)[0].key == sku


def test_a_text_that_names_no_piece_finds_none() -> None:
    assert reading.skus("any news? tempus fugit", NAMES) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("in 日本語 by the 20th", ["Japanese"]),
        ("honorific level 해요", ["Korean"]),
        ("A-310 → AR please", ["Arabic"]),
        ("auf Deutsch", ["German"]),
        ("en español", ["Spanish"]),
        ("up it goes", []),
    ],
)
def test_languages_are_read_by_name_and_by_script(text: str, found: list[str]) -> None:
    assert reading.languages(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('change "Ivory satin" to "Ivory silk satin"', ("Ivory satin", "Ivory silk satin")),
        ('pls drop "nobody counts them", sounds odd', ("nobody counts them", "")),
        ("it's 120 pieces, not 150", None),
    ],
)
def test_changes_of_wording_are_read_between_quotation_marks(text: str, found: tuple[str, str] | None) -> None:
    assert reading.replacement(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "R-1008: can it come to 525 West 24th Street, New York, NY 10011?",
            "525 West 24th Street, New York, NY 10011",
        ),
        ("the coat R-1014 -> Via Savona 97, 20144 Milano", "Via Savona 97, 20144 Milano"),
        ("I moved!! It should go to Langstrasse 200, 8005 Zürich. Danke", "Langstrasse 200, 8005 Zürich"),
        ("wrong flat number on R-1024, it's 27B not 27", "27B not 27"),
        ("somewhere else, please", None),
    ],
)
def test_the_address_is_the_part_that_looks_most_like_one(text: str, found: str | None) -> None:
    assert reading.address(text) == found
