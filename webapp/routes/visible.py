"""Uploads and datasets, as far as they exist for whoever asks."""

from jobs.datasets import Dataset
from jobs.uploads import Upload
from webapp.database_access import read
from webapp.state import AppRequest


async def upload(request: AppRequest, upload_id: int) -> Upload:
    """Raises UploadNotFoundError."""
    policy = request.state["policy"]
    return await read(request.state["database"], lambda connection: policy.upload(connection, upload_id))


async def dataset(request: AppRequest, name: str) -> Dataset:
    """Raises DatasetNotFoundError."""
    policy = request.state["policy"]
    return await read(request.state["database"], lambda connection: policy.dataset(connection, name))
