"""vidu-pipe as a library: folders of videos into a feature store, and light classifiers over it.

    import vidu_pipe as vp

    store = vp.extract("videos/", "features", streams=[vp.Rgb("resnet50"), vp.Flow(stack=10)])
    store["Archery/v_01"].rgb          # (T, D), one row a moment
    run = vp.train(store, head="lstm", folds=5)
    run.results
    vp.predict(run, "new_clips/")

The command line calls these functions. Nothing is imported before it is used: neither torch nor ray.
Errors are `ConfigError`, `ResourceError`, `StoreError` (all of them `ViduError`); a bad video is no error but a row.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.learn.runs.run import Run
    from schemas.config import ExtractSettings, Sampling
    from schemas.errors import ConfigError, InputError, ResourceError, StoreError, ViduError
    from schemas.streams import Flow, Rgb
    from vidu_pipe.exchange import export, fuse, import_features
    from vidu_pipe.extraction import extract, flow_files
    from vidu_pipe.features import FeatureStore, VideoFeatures, open_store
    from vidu_pipe.learning import compare, evaluate, open_run, predict, report, train
    from vidu_pipe.motion import flow

# name -> the module it lies in
_PLACES = {
    "extract": "vidu_pipe.extraction",
    "flow_files": "vidu_pipe.extraction",
    "open_store": "vidu_pipe.features",
    "FeatureStore": "vidu_pipe.features",
    "VideoFeatures": "vidu_pipe.features",
    "train": "vidu_pipe.learning",
    "open_run": "vidu_pipe.learning",
    "predict": "vidu_pipe.learning",
    "evaluate": "vidu_pipe.learning",
    "compare": "vidu_pipe.learning",
    "report": "vidu_pipe.learning",
    "import_features": "vidu_pipe.exchange",
    "export": "vidu_pipe.exchange",
    "fuse": "vidu_pipe.exchange",
    "flow": "vidu_pipe.motion",
    "Rgb": "schemas.streams",
    "Flow": "schemas.streams",
    "Sampling": "schemas.config",
    "ExtractSettings": "schemas.config",
    "Run": "pipeline.learn.runs.run",
    "ViduError": "schemas.errors",
    "ConfigError": "schemas.errors",
    "ResourceError": "schemas.errors",
    "StoreError": "schemas.errors",
    "InputError": "schemas.errors",
}
__all__ = [
    "ConfigError",
    "ExtractSettings",
    "FeatureStore",
    "Flow",
    "InputError",
    "ResourceError",
    "Rgb",
    "Run",
    "Sampling",
    "StoreError",
    "VideoFeatures",
    "ViduError",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "extract",
    "flow",
    "flow_files",
    "fuse",
    "import_features",
    "open_run",
    "open_store",
    "predict",
    "report",
    "train",
]


def __getattr__(name: str) -> object:
    """Import what is asked for, the first time it is.

    Raises:
        AttributeError: there is no such name here.
    """
    if name == "__version__":
        from schemas.software import versions

        return versions(["vidu-pipe"])["vidu-pipe"]
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    """List what there is, for completion."""
    return __all__
