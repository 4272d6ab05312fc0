"""What is exchanged is made as for learning."""

from tests.pipeline.learn.conftest import make_store

__all__ = ["make_store"]
