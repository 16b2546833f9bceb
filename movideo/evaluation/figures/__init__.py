"""The columns of a report."""
