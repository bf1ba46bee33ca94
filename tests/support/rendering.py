"""A renderer and snapshots over a hub that does not run."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jobs.queue import UploadQueue
from tests.support.serving import Records
from webapp.live.delivery.feeds import Feeds
from webapp.live.delivery.queue_monitor import QueueMonitor
from webapp.live.record_cache import RecordCache
from webapp.live.renderer import Renderer
from webapp.live.snapshots import Snapshots
from webapp.templating import Templates


class CountingTemplates(Templates):
    """Counts how often each template is rendered."""

    def __init__(self) -> None:
        super().__init__()
        self.rendered: Counter[str] = Counter()

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        self.rendered[template] += 1
        return super().render(template, context)


class Scene:
    """Everything between the database and a stream, except for deliveries."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.templates = CountingTemplates()
        self.queue = UploadQueue(records.settings.redis)
        self.queue_monitor = QueueMonitor(records.database, self.queue, Feeds(0.001), dataset_imports=4)
        self.renderer = Renderer(self.templates, self.queue_monitor)
        self.cache = RecordCache(records.database)
        self.snapshots = Snapshots(records.database, self.renderer, self.cache)

    def close(self) -> None:
        self.queue.close()
