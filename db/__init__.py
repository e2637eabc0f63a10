"""Where a review is kept: the only SQL in the house."""
