"""What can be made of videos: one class and one line of `PRODUCTS` each.

Planning, engines, retries, resume and reports are the same for all. A product's own modules are imported when it is
made, so that nobody waits for networks that are not used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from schemas.config import ExtractSettings
from schemas.disk.flow_store import FlowStore
from schemas.disk.store import Store
from schemas.flow_config import FlowFileSettings, Settings
from schemas.plan import ShardReport, ShardTask
from workers.ledger import Progress

if TYPE_CHECKING:
    from workers.flow_process import FlowTools
    from workers.networks.engine import Network
    from workers.tools import Tools

S_contra = TypeVar("S_contra", contravariant=True)  # settings
T = TypeVar("T")  # tools
D_contra = TypeVar("D_contra", contravariant=True)  # where to: a store on disk


class TaskTools(Protocol):
    """What an engine knows of tools: whose they are."""

    @property
    def settings(self) -> Settings:
        """Settings of the job."""
        ...


class Product(Protocol[S_contra, T, D_contra]):
    """How one kind of settings becomes files."""

    def software(self, settings: S_contra) -> dict[str, str]:
        """Return the versions of the libraries, and the arithmetic, that can change a bit of it."""
        ...

    def make_tools(self, settings: S_contra, networks: "dict[str, Network | None]") -> T:
        """Prepare, once per process, what tasks share.

        Raises:
            ResourceError: this machine lacks something.
        """
        ...

    def make(self, task: ShardTask, tools: T, store: D_contra) -> Iterator[Progress | ShardReport]:
        """Do one task: its output appears whole or not at all, the report last; the report is the last word said."""
        ...

    def rehearse(self, task: ShardTask, tools: T) -> Iterator[Progress]:
        """Do all of a task's work that could end the process, and write nothing; a task without segments too."""
        ...


class Features:
    """A store of features: `vidu-pipe extract`."""

    def software(self, settings: ExtractSettings) -> dict[str, str]:
        """See `Product`."""
        from workers.tools import feature_software

        return feature_software(settings.device)

    def make_tools(self, settings: ExtractSettings, networks: "dict[str, Network | None]") -> "Tools":
        """See `Product`."""
        from workers.tools import make_tools

        return make_tools(settings, networks)

    def make(self, task: ShardTask, tools: "Tools", store: Store) -> Iterator[Progress | ShardReport]:
        """See `Product`."""
        from workers.process import make_shard

        return make_shard(task, tools, store)

    def rehearse(self, task: ShardTask, tools: "Tools") -> Iterator[Progress]:
        """See `Product`."""
        from workers.process import rehearse

        return rehearse(task, tools)


class FlowFiles:
    """Files of optical flow: `vidu-pipe flow`."""

    def software(self, _settings: FlowFileSettings) -> dict[str, str]:
        """See `Product`."""
        from workers.flow_process import flow_software

        return flow_software()

    def make_tools(self, settings: FlowFileSettings, _networks: "dict[str, Network | None]") -> "FlowTools":
        """See `Product`; there are no networks."""
        from workers.flow_process import make_flow_tools

        return make_flow_tools(settings)

    def make(self, task: ShardTask, tools: "FlowTools", store: FlowStore) -> Iterator[Progress | ShardReport]:
        """See `Product`."""
        from workers.flow_process import make_flow_files

        return make_flow_files(task, tools, store)

    def rehearse(self, task: ShardTask, tools: "FlowTools") -> Iterator[Progress]:
        """See `Product`."""
        from workers.flow_process import rehearse_flow

        return rehearse_flow(task, tools)


# Settings, tools and store of one line fit each other: the settings' `kind` chooses the line, and all else follows.
PRODUCTS: dict[str, Product[Any, Any, Any]] = {
    "extract": Features(),
    "flow": FlowFiles(),
}
