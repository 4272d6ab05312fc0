"""What a user asks for becomes what can be made here: everything that can be wrong is found before any work."""

from dataclasses import replace

from schemas.config import ExtractSettings
from workers.devices import resolve_device
from workers.networks.engine import Network
from workers.streams import prepared


def prepare(settings: ExtractSettings) -> tuple[ExtractSettings, dict[str, Network | None]]:
    """Choose the device, check names, find weights.

    Settings that a store recorded pass unchanged, or are refused: nothing about them is guessed anew.

    Returns:
        the settings as a store records them, and each stream's network (None where it has none).

    Raises:
        ConfigError: a name or value is not legal, weights do not fit their network, or are others than recorded.
        ResourceError: weights are not on this machine and can not be fetched.
    """
    device = resolve_device(settings.device)
    found = [prepared(stream, device) for stream in settings.streams]
    networks = {stream.name: network for stream, network in found}
    return replace(settings, device=device, streams=tuple(stream for stream, _ in found)), networks
