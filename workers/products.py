"""What can be made of videos: one class and one line of `PRODUCTS` each.

Planning, engines, retries, resume and reports are the same for all. A product's own modules are imported when it is
made, so that nobody waits for networks that are not used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from schemas.plan import ShardReport, ShardTask
from workers.ledger import Progress

if TYPE_CHECKING:
    from workers.networks.backbones import State


class Product(Protocol):
    """How one kind of settings becomes files; tools, settings and store are those of that kind."""

    def software(self, settings: Any) -> dict[str, str]:  # noqa: ANN401 - each kind has its own
        """Return the versions of the libraries, and the arithmetic, that can change a bit of it."""
        ...

    def make_tools(self, settings: Any, weights: "dict[str, State]") -> Any:  # noqa: ANN401 - each kind has its own
        """Prepare, once per process, what tasks share.

        Raises:
            ResourceError: this machine lacks something.
        """
        ...

    def make(self, task: ShardTask, tools: Any, store: Any) -> Iterator[Progress | ShardReport]:  # noqa: ANN401
        """Do one task: its output appears whole or not at all, the report last; the report is the last word said."""
        ...

    def rehearse(self, task: ShardTask, tools: Any) -> Iterator[Progress]:  # noqa: ANN401 - each kind has its own
        """Do all of a task's work that could end the process, and write nothing; a task without segments too."""
        ...


class Features:
    """A store of features: `vidu-pipe extract`."""

    def software(self, settings: Any) -> dict[str, str]:  # noqa: ANN401 - see Product
        """See `Product`."""
        from workers.tools import feature_software

        return feature_software(settings.device)

    def make_tools(self, settings: Any, weights: "dict[str, State]") -> Any:  # noqa: ANN401 - see Product
        """See `Product`."""
        from workers.tools import make_tools

        return make_tools(settings, weights)

    def make(self, task: ShardTask, tools: Any, store: Any) -> Iterator[Progress | ShardReport]:  # noqa: ANN401
        """See `Product`."""
        from workers.process import make_shard

        return make_shard(task, tools, store)

    def rehearse(self, task: ShardTask, tools: Any) -> Iterator[Progress]:  # noqa: ANN401 - see Product
        """See `Product`."""
        from workers.process import rehearse

        return rehearse(task, tools)


class FlowFiles:
    """Files of optical flow: `vidu-pipe flow`."""

    def software(self, settings: Any) -> dict[str, str]:  # noqa: ANN401, ARG002 - see Product
        """See `Product`."""
        from workers.flow_process import flow_software

        return flow_software()

    def make_tools(self, settings: Any, weights: "dict[str, State]") -> Any:  # noqa: ANN401, ARG002 - see Product
        """See `Product`; there are no weights."""
        from workers.flow_process import make_flow_tools

        return make_flow_tools(settings)

    def make(self, task: ShardTask, tools: Any, store: Any) -> Iterator[Progress | ShardReport]:  # noqa: ANN401
        """See `Product`."""
        from workers.flow_process import make_flow_files

        return make_flow_files(task, tools, store)

    def rehearse(self, task: ShardTask, tools: Any) -> Iterator[Progress]:  # noqa: ANN401 - see Product
        """See `Product`."""
        from workers.flow_process import rehearse_flow

        return rehearse_flow(task, tools)


PRODUCTS: dict[str, Product] = {
    "extract": Features(),
    "flow": FlowFiles(),
}
