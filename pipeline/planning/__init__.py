"""Which videos are meant, what they hold, and how their work is cut: found, probed, planned."""
