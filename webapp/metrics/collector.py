"""The metrics of a web process: figures of the whole system, and those that only this process knows."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from jobs.lanes import Lane
from jobs.uploads import TERMINAL
from webapp.live.delivery.deliveries import BOUNDS, Deliveries
from webapp.metrics.system_figures import SystemFigures

#: The lane of uploads that scripts import, which wait for no worker.
EXTERNAL = "external"


class Figures(Collector):
    """One answer to a scrape."""

    def __init__(
        self,
        system: SystemFigures,
        deliveries: Deliveries,
        *,
        streams: int,
        publish_failures: int,
        retries: int,
        sign_in_failures: int,
    ) -> None:
        """streams: that are open. The others: since this process began."""
        self._system = system
        self._deliveries = deliveries
        self._streams = streams
        self._counts = {
            "bulk_upload_streams_cut": (
                deliveries.cut,
                "Event streams that were closed: nobody read them.",
            ),
            "bulk_upload_publish_failures": (publish_failures, "Events that Redis did not take from this process."),
            "bulk_upload_retries": (
                retries,
                "Uploads that people retried through this process, or that it took back from dead workers.",
            ),
            "bulk_upload_sign_in_failures": (sign_in_failures, "Sign-ins that this process refused."),
        }

    def collect(self) -> Iterator[Metric]:
        yield from self._of_system()
        yield GaugeMetricFamily("bulk_upload_streams", "Event streams that are open at this process.", self._streams)
        for name, (count, text) in self._counts.items():
            yield CounterMetricFamily(name, text, count)
        yield self._delivery()

    def _of_system(self) -> Iterator[Metric]:
        system = self._system
        if system.totals is not None:
            ended = CounterMetricFamily(
                "bulk_upload_uploads", "Uploads that ended, by how and by lane.", labels=["status", "lane"]
            )
            for status in sorted(TERMINAL):
                for lane in (*Lane, EXTERNAL):
                    ended.add_metric([status, lane], system.totals.uploads.get((status, lane), 0))
            yield ended
            rows = CounterMetricFamily("bulk_upload_rows", "Rows that were processed, by result.", labels=["result"])
            for result in ("success", "failed"):
                rows.add_metric([result], system.totals.rows.get(result, 0))
            yield rows
            yield CounterMetricFamily(
                "bulk_upload_bytes", "Bytes of the files that were received.", system.totals.bytes
            )
        if system.waiting is not None:
            depth = GaugeMetricFamily(
                "bulk_upload_queue_depth", "Uploads that wait for a worker, by lane.", labels=["lane"]
            )
            oldest = GaugeMetricFamily(
                "bulk_upload_queue_oldest_seconds", "Seconds that the first of them has waited.", labels=["lane"]
            )
            for lane, waiting in system.waiting.items():
                depth.add_metric([lane], waiting.count)
                oldest.add_metric([lane], waiting.oldest)
            yield depth
            yield oldest
        if system.workers is not None:
            workers = GaugeMetricFamily(
                "bulk_upload_workers", "Workers that take uploads of a lane; most take both.", labels=["lane"]
            )
            for lane in Lane:
                workers.add_metric([lane], system.workers.taking(lane))
            yield workers
        if system.disk_free is not None:
            text = "Free bytes on the disk of the data folder."
            yield GaugeMetricFamily("bulk_upload_disk_free_bytes", text, system.disk_free)

    def _delivery(self) -> Metric:
        bounds = [*(repr(bound) for bound in BOUNDS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._deliveries.counts)), strict=True))
        return HistogramMetricFamily(
            "bulk_upload_delivery_seconds",
            "Seconds from the commit of a change until this process wrote it to the socket of a client.",
            buckets=buckets,
            sum_value=self._deliveries.seconds,
        )
