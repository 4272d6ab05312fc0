"""Settings that lie on disk: in a TOML file, in a store, in a run."""

import tomllib
from pathlib import Path

import tomli_w

from schemas.config import ExtractSettings
from schemas.errors import ConfigError


def read_toml(path: Path) -> ExtractSettings:
    """Read settings from a TOML file; what is left out has its default.

    Raises:
        ConfigError: there is no such file, it is no TOML, or a field or value is not known.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} can not be read as TOML: {error}") from error
    try:
        return ExtractSettings.from_dict(plain)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def to_toml(settings: ExtractSettings) -> str:
    """Return settings as the text of a TOML file that `read_toml` reads back as the same value."""
    return tomli_w.dumps(settings.as_dict())


def stored_settings(path: Path) -> ExtractSettings:
    """Return the settings that a store's features, or those a run was trained on, were made with.

    Raises:
        ConfigError: there is neither in `path`, or the features were imported.
        StoreError: it is damaged.
    """
    from pipeline.learn.runs.run import Run
    from schemas.disk.store import Store

    if Store.exists(path):
        origin = Store.open(path).origin
        kind, plain = origin.kind, origin.settings
    elif (path / "settings.json").exists():
        store = Run.open(path).settings["store"]
        kind, plain = store["kind"], store["settings"]
    else:
        raise ConfigError(f"`like` {path}: neither a store nor a run")
    if kind != ExtractSettings.kind:
        raise ConfigError(f"`like` {path}: its features were not extracted by this program ({kind}), so there are no "
                          "settings to take")
    return ExtractSettings.from_dict(plain)
