"""From a file to pixels: opening it, what it says of itself, and its frames by time.

`movideo.video.read` is the way in.
"""
