"""`python -m movideo`."""

from movideo.cli import main

if __name__ == "__main__":  # not again in each process that a loader spawns
    main()
