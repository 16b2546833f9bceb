"""Side-by-side timings, figures and sample data; each module is a command."""
