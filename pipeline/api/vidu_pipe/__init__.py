"""vidu-pipe as a library: folders of videos into a feature store, and light classifiers over it."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Return what is not needed until someone asks for it.

    Raises:
        AttributeError: there is no such name here.
    """
    if name == "__version__":
        from schemas.software import versions

        return versions(["vidu-pipe"])["vidu-pipe"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
