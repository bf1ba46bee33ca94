"""The JSON object of an upload."""

import sqlalchemy as sa

from jobs import uploads
from jobs.files import StoredFile
from jobs.uploads import Processor
from webapp.routes import upload_json


def test_a_new_upload_has_its_file_its_moments_and_its_links(connection: sa.Connection) -> None:
    upload = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"), dataset="sales")
    shown = upload_json.as_json(upload)

    assert (shown["id"], shown["filename"], shown["size"], shown["sha256"]) == (upload.id, "june.csv", 8, "beef")
    assert shown["created_at"].endswith("Z")
    assert (shown["started_at"], shown["finished_at"], shown["parent"], shown["notes"]) == (None, None, None, [])
    assert shown["links"] == {
        "self": f"/api/v1/uploads/{upload.id}",
        "events": f"/api/v1/uploads/{upload.id}/events",
        "html": f"/uploads/{upload.id}",
        "original": f"/uploads/{upload.id}/original",
        "dataset": "/api/v1/datasets/sales",
    }


def test_an_external_upload_without_a_file_has_no_links_to_files(connection: sa.Connection) -> None:
    upload = uploads.create(connection, StoredFile("june.csv", "", 0, ""), processor=Processor.EXTERNAL)
    shown = upload_json.as_json(upload)

    assert (shown["processor"], shown["size"], shown["sha256"]) == ("external", None, None)
    assert shown["links"].keys() == {"self", "events", "html"}
