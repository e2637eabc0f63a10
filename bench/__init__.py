"""The measurements of the house, beside the raw rate of the same databases in the same run."""
