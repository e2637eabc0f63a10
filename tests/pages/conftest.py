"""What the tests of the pages share."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Give the test run its ``__main__`` back, in whose place Streamlit's AppTest leaves the script that it ran.

    A process that is started later would run that script first, and fail.
    """
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main
