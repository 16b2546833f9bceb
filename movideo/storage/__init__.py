"""Files on disk, whatever they hold: written whole, kept inside their folder, hashed, tabled."""
