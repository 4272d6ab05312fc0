"""Networks: how each wants its pictures, what runs it on this device, and where it is kept once it was made ready."""
