"""Flow in files and pictures: `.flo`, grey images, colour drawings."""
