"""Settings that lie on disk: in a TOML file, in a store, in a run."""

import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import tomli_w

from schemas.config import ExtractSettings
from schemas.disk.shard import Origin
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
    from pipeline.learn.runs.origins import known_stores
    from pipeline.learn.runs.run import Run
    from schemas.disk.store import Store

    known: list[Origin] = []
    if Store.exists(path):
        known.append(Store.open(path).origin)
    elif (path / "settings.json").exists():
        known.extend(known_stores(Run.open(path)))
    else:
        raise ConfigError(f"`like` {path}: neither a store nor a run")
    for origin in known:
        if origin.kind != ExtractSettings.kind:
            raise ConfigError(
                f"`like` {path}: its features were not extracted by this program ({origin.kind}), so "
                "there are no settings to take"
            )
    joined = in_one_pass(ExtractSettings.from_dict(origin.settings) for origin in known)
    if len(joined) > 1:
        raise ConfigError(
            f"`like` {path}: it was trained on stores that no one extraction makes; choose one of them: "
            + ", ".join(getattr(origin, "path", "") for origin in known)
        )
    return joined[0]


def in_one_pass(each: Iterable[ExtractSettings]) -> list[ExtractSettings]:
    """Join the settings of extractions that differ in nothing but their streams: one extraction makes them all.

    Those that have different streams of one name stay apart.
    """
    joined: list[ExtractSettings] = []
    for settings in each:
        for place, other in enumerate(joined):
            streams = {stream.name: stream for stream in other.streams}
            more = {stream.name: stream for stream in settings.streams}
            if replace(settings, streams=other.streams) == other and streams | more == more | streams:
                joined[place] = replace(other, streams=tuple((streams | more).values()))
                break
        else:
            joined.append(settings)
    return joined
