"""Lists of clips: made from a disk of videos, kept in a table that people edit, and read again."""
