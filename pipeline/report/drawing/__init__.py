"""Charts and pictures by hand: SVG and small images."""
