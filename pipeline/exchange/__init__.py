"""Features and scores from and for other programs: import, export, fuse."""
