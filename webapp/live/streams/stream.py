"""What the four streams have in common."""

from abc import ABC, abstractmethod

from webapp.live.delivery.batch import Batch


class Stream(ABC):
    """The messages for one client.

    The response subscribes and sends what `begin` returns; then the subscriber sends what `tell` returns for each
    batch, until `is_over`.
    """

    #: The upload whose channel the stream follows; None for the general channel.
    upload_id: int | None = None
    #: Whether nothing can follow what `begin` or `tell` returned last.
    is_over = False

    @abstractmethod
    async def begin(self) -> bytes:
        """The snapshot, as one or more messages; b"" if there is nothing to send yet."""

    @abstractmethod
    def tell(self, batch: Batch) -> bytes:
        """What the batch contains that is new to the client, as one or more messages; b"" for nothing.

        Raises NotReadyError, or what its task raised, and has changed nothing then: it is called again with the same
        batch.
        """
