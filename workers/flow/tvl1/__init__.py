"""TV-L1 optical flow: one method, its parameters and its engines."""
