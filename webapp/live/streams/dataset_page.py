"""The stream of a dataset's page."""

from jobs.errors import DatasetNotFoundError
from jobs.view import View
from webapp.live.delivery.batch import Batch
from webapp.live.renderer import Renderer, message
from webapp.live.snapshots import Snapshots
from webapp.live.streams.stream import Stream
from webapp.views.dataset import Shown


class DatasetPageStream(Stream):
    """What the page says above its rows, again after each change of an upload into the dataset. The rows stay."""

    def __init__(self, snapshots: Snapshots, renderer: Renderer, name: str, shown: Shown | None, *, seen: View) -> None:
        """shown: the state whose rows the page has; None: the first that the stream reads. seen: what exists for the
        client."""
        self._seen = seen
        self._snapshots = snapshots
        self._renderer = renderer
        self._name = name
        self._shown = shown

    async def begin(self) -> bytes:
        if not self._seen.shows(self._name):
            raise DatasetNotFoundError(self._name)
        return await self._render()

    def tell(self, batch: Batch) -> bytes:
        if not any(event.dataset == self._name for event in batch.events):
            return b""
        return batch.shared(("dataset", self._name, self._shown), self._render)

    async def _render(self) -> bytes:
        state = await self._snapshots.dataset(self._name)
        if self._shown is None:
            self._shown = Shown.of(state.entry)
        return message(self._renderer.dataset(state, self._shown), "")
