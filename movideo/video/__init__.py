"""One video or picture: decoded by time, read, written."""
