"""Side-by-side timings, metrics and sample data; each module is a command."""
