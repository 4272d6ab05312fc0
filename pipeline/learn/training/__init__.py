"""Training models, one or many, so that it can be put down and taken up."""
