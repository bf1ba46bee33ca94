"""Uploads and datasets, as far as they exist for whoever asks."""

from jobs.datasets import Dataset
from jobs.errors import RemovedError
from jobs.uploads import Upload
from webapp.database_access import read
from webapp.state import AppRequest


async def upload(request: AppRequest, upload_id: int) -> Upload:
    """Raises UploadNotFoundError."""
    policy = request.state["policy"]
    return await read(request.state["database"], lambda connection: policy.upload(connection, upload_id))


def require_failed_rows(upload: Upload) -> None:
    """Raises RemovedError if retention removed them."""
    if upload.failed_rows_removed_at is not None:
        raise RemovedError("The failed rows", upload.id, upload.failed_rows_removed_at)


async def dataset(request: AppRequest, name: str) -> Dataset:
    """Raises DatasetNotFoundError."""
    policy = request.state["policy"]
    return await read(request.state["database"], lambda connection: policy.dataset(connection, name))
