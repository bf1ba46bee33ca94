"""The tables of records. Each dataset has its rows in a table `data_<name>` (see datasets.py)."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A time in UTC, on databases with and without time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


metadata = sa.MetaData()

#: Both databases number from 1 and never reuse a number.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: `uploads.outcome`: what a completed upload ended with, or that an earlier release held a duplicate; null for others.
#: The database derives it, so that processes of the previous release need not know it. In Python:
#: history_query.outcomes.
OUTCOME = (
    "CASE WHEN status = 'cancelled' AND attempt = 0 AND error IS NOT NULL THEN 'held'"
    " WHEN status <> 'completed' THEN NULL"
    " WHEN rows_failed > 0 AND CAST(warnings AS TEXT) NOT IN ('[]', 'null') THEN 'failed_rows warnings'"
    " WHEN rows_failed > 0 THEN 'failed_rows'"
    " WHEN CAST(warnings AS TEXT) NOT IN ('[]', 'null') THEN 'warnings'"
    " ELSE 'clean' END"
)

#: Whether an upload waits to be the only one in its dataset: it replaces all rows, or undoes others.
ALONE = sa.text("status = 'pending' AND (mode = 'replace' OR kind = 'undo')")
#: Whether an upload was undone.
UNDONE = sa.text("undone_by IS NOT NULL")

#: Whether an upload has its file still, and its failed rows, as far as retention is concerned.
WITH_ORIGINAL = "uploads.original_removed_at IS NULL AND uploads.stored_as <> ''"
WITH_FAILED_ROWS = "uploads.rows_failed > 0 AND uploads.failed_rows_removed_at IS NULL"

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    #: Consecutive attempts that committed nothing.
    sa.Column("attempts_without_progress", sa.Integer, nullable=False),
    #: Times a work horse had to be ended because of the file since the upload was created or retried. The default lets
    #: processes of the previous release create uploads until they are replaced.
    sa.Column("cuts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    #: The name chosen for a new dataset; empty: named after the file.
    sa.Column("dataset_wanted", sa.Text, nullable=False),
    #: The dataset that receives the rows; null until a new one is created.
    sa.Column("dataset", sa.Text),
    #: The import options that the sender chose (import_options.ImportOptions), as JSON.
    sa.Column("options", sa.JSON, nullable=False),
    #: The upload whose failed rows this one corrects.
    sa.Column("parent", sa.ForeignKey("uploads.id")),
    #: The latest earlier upload of the same bytes that imported a row, into whichever dataset.
    sa.Column("duplicate_of", sa.ForeignKey("uploads.id")),
    #: The column names of the file, a list of text.
    sa.Column("header", sa.JSON),
    #: Name in the folder of files.
    sa.Column("stored_as", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    #: The checkpoint: the byte of the prepared CSV file at which the next chunk begins; and the size of that file.
    sa.Column("next_byte", sa.BigInteger, nullable=False),
    sa.Column("bytes_total", sa.BigInteger),
    sa.Column("rows_total", sa.BigInteger),
    sa.Column("rows_processed", sa.BigInteger, nullable=False),
    sa.Column("rows_success", sa.BigInteger, nullable=False),
    sa.Column("rows_failed", sa.BigInteger, nullable=False),
    #: Of the failed rows: how many an upload of corrections brought into the dataset, and how many others failed again
    #: in one.
    sa.Column("rows_corrected", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rows_failed_again", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("error", sa.Text),
    #: What helps after a failure (uploads.Remedy); null if it did not fail, or an earlier release recorded it.
    sa.Column("remedy", sa.Text),
    #: Sentences for people about how the file was read.
    sa.Column("notes", sa.JSON, nullable=False),
    #: What a person may not expect of the import (warnings.py); null if a process of an earlier release created it.
    sa.Column("warnings", sa.JSON),
    #: Lines without any value, which are no rows.
    sa.Column("lines_blank", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("worker", sa.Text),
    sa.Column("lease_until", UtcDateTime),
    #: When and at which row this attempt began to import, for its rate.
    sa.Column("counting_since", UtcDateTime),
    sa.Column("counting_from", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    #: uploads.Processor: a worker, or an external script.
    sa.Column("processor", sa.Text, nullable=False, server_default="worker"),
    #: Percent, as reported by the external script.
    sa.Column("progress_reported", sa.Integer),
    #: The time of the last report, once the external script has sent none for a while.
    sa.Column("silent_since", UtcDateTime),
    #: The names of file and dataset for searches (history_query.search_text). The default lets processes of the
    #: previous release create uploads until they are replaced.
    sa.Column("search_text", sa.Text, nullable=False, server_default=sa.text("''")),
    #: lanes.Lane: which workers take it; null for an external upload.
    sa.Column("lane", sa.Text, server_default=sa.text("'bulk'")),
    #: Whose turn it takes: uploads of different senders go in turn. The address of the client that sent it.
    sa.Column("sender", sa.Text, nullable=False, server_default=sa.text("''")),
    #: Whose it is: the account that sent it, and the API token with which, if any.
    sa.Column("account_id", sa.BigInteger),
    sa.Column("token_id", sa.BigInteger),
    #: The name of that account, which it keeps for ever; null: nobody who is known.
    sa.Column("uploaded_by", sa.Text),
    #: On SQLite only the index stores it.
    sa.Column("outcome", sa.Text, sa.Computed(OUTCOME, persisted=True)),
    #: Why it waits for a person: a list of {"code", "detail"}; null if it does not.
    sa.Column("hold", sa.JSON(none_as_null=True)),
    #: Column of the file → the field that it fills, or null if no field takes it; null: matched by names.
    sa.Column("mapping", sa.JSON(none_as_null=True)),
    #: uploads.Review: whether a person looks at it before it is imported.
    sa.Column("review", sa.Text, nullable=False, server_default="never"),
    #: uploads.Task: what a worker does with it.
    sa.Column("task", sa.Text, nullable=False, server_default="import"),
    #: What it brings: the rows of a file (import), repaired rows of its parent (repair), what was before it (undo).
    sa.Column("kind", sa.Text, nullable=False, server_default="import"),
    #: Whether a person said that it is to be imported as it is.
    sa.Column("is_approved", sa.Boolean, nullable=False, server_default=sa.false()),
    #: The Table Schema of a new dataset, as a person chose it in a review; null: inferred from the file.
    sa.Column("schema_wanted", sa.JSON(none_as_null=True)),
    #: What it takes of its file (parts.part_of): a worksheet, a file in an archive; null: the whole file.
    sa.Column("part", sa.Text),
    #: The upload that its file was sent as, if this one is a part of it.
    sa.Column("part_of", sa.BigInteger),
    #: What is to be divided of it once a worker has seen its parts: "all", or a list of names.
    sa.Column("parts_wanted", sa.JSON(none_as_null=True)),
    #: What it was divided into: a list of {"name", "upload"}; null if it was not.
    sa.Column("parts", sa.JSON(none_as_null=True)),
    sa.Index("uploads_part_of", "part_of"),
    #: modes.Mode: what its rows do with those of the dataset; null if an external script imports it, or a process of an
    #: earlier release created it. And what somebody chose; null: nobody, so what is usual for the dataset.
    sa.Column("mode", sa.Text),
    sa.Column("mode_wanted", sa.Text),
    #: How many rows the dataset has more through it, without those that replaced others; and how many rows a
    #: replacement removed. Null: not known.
    sa.Column("rows_added", sa.BigInteger),
    sa.Column("rows_removed", sa.BigInteger),
    #: How many rows of the file the dataset had already, so that they were not written. Null: not known.
    sa.Column("rows_unchanged", sa.BigInteger),
    #: Fields that its import adds to the dataset, as in a Table Schema; null: none.
    sa.Column("fields_wanted", sa.JSON(none_as_null=True)),
    #: What the dataset's rules changed: a list of {"id", "version", "cells", "samples"} (rules.py); null: nothing.
    sa.Column("rules", sa.JSON(none_as_null=True)),
    #: When retention removed its file, and its failed rows (retention.py); null: it did not.
    sa.Column("original_removed_at", UtcDateTime),
    sa.Column("failed_rows_removed_at", UtcDateTime),
    #: What retention may remove, the oldest first.
    sa.Index(
        "uploads_with_original",
        "finished_at",
        "size",
        sqlite_where=sa.text(WITH_ORIGINAL.replace("uploads.", "")),
        postgresql_where=sa.text(WITH_ORIGINAL.replace("uploads.", "")),
    ),
    sa.Index(
        "uploads_with_failed_rows",
        "finished_at",
        sqlite_where=sa.text(WITH_FAILED_ROWS.replace("uploads.", "")),
        postgresql_where=sa.text(WITH_FAILED_ROWS.replace("uploads.", "")),
    ),
    #: What its sender expects of it (expectations.py): {"rows", "sums", "sha256"}; null: nothing. And how that compared
    #: with what was found: a list of {"what", "expected", "found"}.
    sa.Column("expected", sa.JSON(none_as_null=True)),
    sa.Column("balance", sa.JSON(none_as_null=True)),
    #: Of an upload of kind `undo`: the uploads that it undoes, a list of ids. And the one that undid this one; null: it
    #: is in effect.
    sa.Column("undoes", sa.JSON(none_as_null=True)),
    sa.Column("undone_by", sa.BigInteger),
    sa.Index("uploads_undone", "dataset", "id", sqlite_where=UNDONE, postgresql_where=UNDONE),
    #: When somebody deleted it (deletion.py), and the name of an account; null: nobody did, or nobody who is known.
    sa.Column("deleted_at", UtcDateTime),
    sa.Column("deleted_by", sa.Text),
    sa.Index("uploads_account", "account_id", "created_at"),
    sa.Index("uploads_uploaded_by", "uploaded_by", "id"),
    sa.Index("uploads_status", "status"),
    sa.Index("uploads_sender", "sender", "counting_since"),
    sa.Index("uploads_updated_at", "updated_at"),
    sa.Index("uploads_dataset_id", "dataset", "id"),
    sa.Index("uploads_sha256", "sha256"),
    sa.Index("uploads_stored_as", "stored_as"),
    sa.Index("uploads_parent", "parent"),
    #: Those that wait to be alone in their datasets: whatever came later into these waits behind them.
    sa.Index("uploads_alone", "dataset", "id", sqlite_where=ALONE, postgresql_where=ALONE),
    #: Everything that a filter of the history looks at, newest last: a query that no other index answers reads this one
    #: instead of the table, which is ten times as large.
    sa.Index(
        "uploads_history",
        *("id", "status", "outcome", "dataset", "created_at", "kind", "undone_by", "search_text", "deleted_at"),
    ),
    sqlite_autoincrement=True,
)

#: What happened to each upload (upload_log.py).
upload_log = sa.Table(
    "upload_log",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: The seq of the upload after the change.
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    #: upload_log.Kind.
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("rows_processed", sa.BigInteger, nullable=False),
    sa.Column("rows_failed", sa.BigInteger, nullable=False),
    #: Of a claim.
    sa.Column("worker", sa.Text),
    sa.Column("lane", sa.Text),
    #: Why, for people.
    sa.Column("detail", sa.Text),
    #: Who asked for it: upload_log.Via, and the name of an account.
    sa.Column("via", sa.Text),
    sa.Column("by_name", sa.Text),
)

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    #: A Frictionless Table Schema.
    sa.Column("schema", sa.JSON, nullable=False),
    #: insert or upsert.
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("upload_id", sa.ForeignKey("uploads.id")),
    sa.Column("created_at", UtcDateTime, nullable=False),
    #: The rows of its table: whoever changes them counts them in the same transaction (datasets.count_rows).
    sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"),
    #: When rows were added or replaced last; null if none ever were.
    sa.Column("changed_at", UtcDateTime),
    #: Its title for searches, folded (history_query.fold). The default lets processes of the previous release create
    #: datasets until they are replaced.
    sa.Column("search_text", sa.Text, nullable=False, server_default=sa.text("''")),
    #: uploads.Review of its uploads; null: the default of whoever sends them.
    sa.Column("review", sa.Text),
    #: The modes that an upload may ask for (modes.Mode), a list; null: all that make sense.
    sa.Column("modes", sa.JSON(none_as_null=True)),
    #: Grows with each change of its rules, so that an import that runs notices.
    sa.Column("rules_version", sa.BigInteger, nullable=False, server_default="0"),
    #: How often another upload than before has written rows, and the upload that wrote last (write_order.py).
    sa.Column("stamp", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("stamped_by", sa.BigInteger),
    #: Grows with each change of its schema. The default lets processes of the previous release create datasets.
    sa.Column("schema_version", sa.BigInteger, nullable=False, server_default="1"),
    #: expectations.OnMismatch: what becomes of an upload that does not balance; null: it is completed with a warning.
    sa.Column("totals", sa.Text),
    #: Whether an upload must say what to expect of it.
    sa.Column("totals_required", sa.Boolean, nullable=False, server_default=sa.false()),
)

#: The proof of each import (receipts.py): written from its beginning on, and fixed at its end.
receipts = sa.Table(
    "receipts",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: How the file is read: {"options", "mapping", "fields", "schema_version"}.
    sa.Column("reading", sa.JSON, nullable=False),
    #: pipeline.tally.Tally of the rows that are written.
    sa.Column("tally", sa.JSON(none_as_null=True)),
    #: What the receipt says; null: the import has not completed.
    sa.Column("receipt", sa.JSON(none_as_null=True)),
)

#: What a worker saw of a file before its import (review.py).
reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("reading", sa.JSON, nullable=False),
    #: The figures of a check; null until it was made.
    sa.Column("check", sa.JSON(none_as_null=True)),
)

#: Which fields the columns of a dataset's files fill, as somebody chose once: for the next file of the same shape.
mappings = sa.Table(
    "mappings",
    metadata,
    sa.Column("dataset", sa.Text, primary_key=True),
    #: Its name, normalised (datasets.normalized).
    sa.Column("column", sa.Text, primary_key=True),
    #: Null: no field takes it.
    sa.Column("field", sa.Text),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

#: Repairs that every import into a dataset applies (rules.py).
rules = sa.Table(
    "rules",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("dataset", sa.Text, nullable=False),
    #: The name of a field.
    sa.Column("column", sa.Text, nullable=False),
    #: As in repairs.Repair.
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("source", sa.JSON(none_as_null=True)),
    sa.Column("target", sa.JSON(none_as_null=True)),
    sa.Column("enabled", sa.Boolean, nullable=False),
    #: Grows with each change of the rule.
    sa.Column("version", sa.Integer, nullable=False),
    #: 1 is applied first.
    sa.Column("position", sa.Integer, nullable=False),
    sa.Index("rules_dataset", "dataset", "position"),
    sqlite_autoincrement=True,
)

failed_rows = sa.Table(
    "failed_rows",
    metadata,
    sa.Column("upload_id", Id, primary_key=True),
    sa.Column("row_number", sa.BigInteger, primary_key=True),
    #: The line of the file where the row begins, or the worksheet's row; null if an earlier release stored the row.
    sa.Column("line", sa.BigInteger),
    #: The original values, a list of text.
    sa.Column("cells", sa.JSON, nullable=False),
    #: A list of [column or null, rule, cell or null] (failed_rows.Reason).
    sa.Column("reasons", sa.JSON, nullable=False),
    #: The upload of corrections that brought the row into the dataset, and the newest one in which it failed again.
    sa.Column("corrected_by", sa.BigInteger),
    sa.Column("failed_again_in", sa.BigInteger),
    #: The upload of corrections that brought the row and was undone then. It brings it again if that undo is undone.
    sa.Column("formerly_corrected_by", sa.BigInteger),
    #: Of a row of corrections: the upload and the row in which it failed first.
    sa.Column("root_upload_id", sa.BigInteger),
    sa.Column("root_row_number", sa.BigInteger),
    #: It grows with each edit; whoever edits the row names the one that they saw.
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    #: Column of the file → the text in place of the original one; null: nobody edited the row.
    sa.Column("edits", sa.JSON(none_as_null=True)),
    #: The reasons that remain with the edits, as `reasons`; null if nobody edited the row.
    sa.Column("wrong", sa.JSON(none_as_null=True)),
    #: Whether it is edited, and no reason remains.
    sa.Column("is_right", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("edited_by", sa.Text),
    sa.Column("edited_at", UtcDateTime),
    #: The repair whose file has the row; while that one is imported, the row cannot be edited.
    sa.Column("taken_by", sa.BigInteger),
    #: Not on PostgreSQL, where it takes half of the time of storing a row: no upload's record is deleted, and whoever
    #: stores a row has locked it.
    sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"]).ddl_if(dialect="sqlite"),
    sa.Index(
        "failed_rows_open",
        "upload_id",
        "row_number",
        sqlite_where=sa.text("corrected_by IS NULL AND failed_again_in IS NULL"),
        postgresql_where=sa.text("corrected_by IS NULL AND failed_again_in IS NULL"),
    ),
    sa.Index(
        "failed_rows_edited",
        "upload_id",
        "is_right",
        "row_number",
        sqlite_where=sa.text("edits IS NOT NULL"),
        postgresql_where=sa.text("edits IS NOT NULL"),
    ),
    sa.Index(
        "failed_rows_root",
        "root_upload_id",
        "root_row_number",
        sqlite_where=sa.text("root_upload_id IS NOT NULL"),
        postgresql_where=sa.text("root_upload_id IS NOT NULL"),
    ),
)

#: How many rows failed for each reason, including rows that are not stored.
failure_counts = sa.Table(
    "failure_counts",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id"), primary_key=True),
    #: "" for a reason about the row as a whole.
    sa.Column("column", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    #: Values that break the rule and how often: a list of [text, rows]. Null: an earlier release counted the rows.
    sa.Column("found_values", sa.JSON),
    #: Whether there are others.
    sa.Column("more_values", sa.Boolean),
    #: To be subtracted: rows that no longer fail for it, because they landed or were edited, and their values: a list
    #: of [text, rows]. Below zero: rows that fail for it since they were edited.
    sa.Column("rows_closed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("closed_values", sa.JSON(none_as_null=True)),
)

#: What an upload of kind `repair` does with the failed rows of its parent (repairs.Wanted).
repairs = sa.Table(
    "repairs",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("wanted", sa.JSON, nullable=False),
)

#: What undoing an upload would do, as a worker counted it (undo_orders.py).
undo_previews = sa.Table(
    "undo_previews",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: Of the dataset then: other figures belong to another state.
    sa.Column("state", sa.Text, nullable=False),
    #: Without and with the repairs of the upload.
    sa.Column("found", sa.JSON, nullable=False),
)

#: The failed rows of an upload as a whole.
repair_states = sa.Table(
    "repair_states",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: It grows with each edit of any row.
    sa.Column("edits", sa.BigInteger, nullable=False, server_default="0"),
    #: Suggested repairs, for which state of the rows (repairs.state_of), and since when.
    sa.Column("found", sa.JSON(none_as_null=True)),
    sa.Column("found_for", sa.Text),
    sa.Column("found_at", UtcDateTime),
)

#: The last edits of failed rows, to be undone.
row_edits = sa.Table(
    "row_edits",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("by_name", sa.Text),
    #: What it did, for people.
    sa.Column("title", sa.Text, nullable=False),
    #: How many rows it changed, and these: a list of [row number, edits after it, edits before it, wrong before it].
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("before", sa.JSON, nullable=False),
    sa.Index("row_edits_upload", "upload_id", "id"),
    sqlite_autoincrement=True,
)

#: Where in its file the rows of an upload fail (failure_map.py).
failure_maps = sa.Table(
    "failure_maps",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: Rows of the file that a count is of.
    sa.Column("width", sa.BigInteger, nullable=False),
    #: How many of the first `width` rows failed, how many of the next ones, and so on.
    sa.Column("counts", sa.JSON, nullable=False),
)

#: The stored failed rows that have a reason, in blocks: an index that finds them among a million of others.
failure_places = sa.Table(
    "failure_places",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("column", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("first_row", sa.BigInteger, primary_key=True),
    sa.Column("last_row", sa.BigInteger, nullable=False),
    #: The numbers of the rows, as runs (failure_places.py).
    sa.Column("runs", sa.JSON, nullable=False),
)

#: Where in its file each row of an upload began, as runs of rows (row_lines.py).
row_lines = sa.Table(
    "row_lines",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: The number of the first row.
    sa.Column("first", sa.BigInteger, primary_key=True),
    #: Its line in the file, or its row in the worksheet.
    sa.Column("line", sa.BigInteger, nullable=False),
    #: How many lines each row takes, compressed, as text, which both drivers of SQLite take; null: one.
    sa.Column("steps", sa.Text),
)

#: In which order uploads wrote into a dataset: of rows that are the same one, a larger stamp is newer (write_order.py).
write_order = sa.Table(
    "write_order",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: The number of the first row of the file with this stamp.
    sa.Column("first", sa.BigInteger, primary_key=True),
    sa.Column("stamp", sa.BigInteger, nullable=False),
)

#: Whether there is an image, or a table that was replaced. In parentheses, because it stands beside other conditions.
SOMETHING_IS_KEPT = sa.text('("first" IS NOT NULL OR is_table)')

#: What became of the rows that an upload replaced or removed (before_images.py). An upload without a record replaced
#: none, if its `rows_unchanged` is known.
kept_images = sa.Table(
    "kept_images",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("dataset", sa.Text, nullable=False),
    #: How many rows it replaced or removed that other uploads had written.
    sa.Column("replaced", sa.BigInteger, nullable=False),
    #: Its images in `before_<dataset>` are among those with these numbers; null: it has none there.
    sa.Column("first", sa.BigInteger),
    sa.Column("last", sa.BigInteger),
    #: Whether the former table of the dataset is kept as `replaced_<upload>`.
    sa.Column("is_table", sa.Boolean, nullable=False, server_default=sa.false()),
    #: When the last one was kept, from which on they are kept for some days.
    sa.Column("at", UtcDateTime, nullable=False),
    #: before_images.Lost: why they are not there; null: they are.
    sa.Column("lost", sa.Text),
    sa.Index("kept_images_dataset", "dataset"),
    sa.Index("kept_images_at", "at", sqlite_where=SOMETHING_IS_KEPT, postgresql_where=SOMETHING_IS_KEPT),
)

#: Rows that an upload brought and the dataset had already, in blocks (unchanged_rows.py).
unchanged_rows = sa.Table(
    "unchanged_rows",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    #: The numbers of the first and the last row of the upload's file.
    sa.Column("first", sa.BigInteger, primary_key=True),
    sa.Column("last", sa.BigInteger, nullable=False),
    #: The upload that wrote the rows that were found, and the numbers that these have.
    sa.Column("owner_id", sa.BigInteger, primary_key=True),
    sa.Column("owner_first", sa.BigInteger, nullable=False),
    sa.Column("owner_last", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    #: The runs of rows that follow one another in both files, packed as text; null: it is one.
    sa.Column("runs", sa.Text),
    sa.Index("unchanged_rows_owner", "owner_id", "owner_first"),
)

#: The answers to requests with an Idempotency-Key (see idempotency.py).
idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    #: SHA-256 of the request body, hexadecimal.
    sa.Column("body", sa.Text, nullable=False),
    #: The HTTP status, and the response body as JSON.
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("answer", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("idempotency_keys_created_at", "created_at"),
)

#: Who may use the server (people/accounts.py).
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    #: What equal names have in common (people/names.py).
    sa.Column("name_key", sa.Text, nullable=False, unique=True),
    #: people.roles.Role.
    sa.Column("role", sa.Text, nullable=False),
    #: A hash of the password; null: none was set.
    sa.Column("password", sa.Text),
    #: Issuer and subject of OpenID Connect, or null.
    sa.Column("subject", sa.Text, unique=True),
    sa.Column("disabled_at", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    #: When a session or a token of it was used last, within a minute.
    sa.Column("used_at", UtcDateTime),
    sqlite_autoincrement=True,
)

groups = sa.Table(
    "groups",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_key", sa.Text, nullable=False, unique=True),
    sqlite_autoincrement=True,
)

group_members = sa.Table(
    "group_members",
    metadata,
    sa.Column("group_id", sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    #: Whether a claim of OpenID Connect made the account a member: the next sign-in may end it.
    sa.Column("is_claimed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("group_members_account", "account_id"),
)

#: Browsers that are signed in (people/sessions.py).
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    #: Of the secret in the cookie.
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("used_at", UtcDateTime, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    #: What the browser calls itself.
    sa.Column("agent", sa.Text, nullable=False),
    #: The identity token of OpenID Connect, which its sign-out wants to see; null of others.
    sa.Column("identity_token", sa.Text),
    sa.Index("sessions_account", "account_id"),
    sqlite_autoincrement=True,
)

#: API tokens (people/tokens.py).
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    #: A list of people.roles.Scope.
    sa.Column("scopes", sa.JSON, nullable=False),
    #: The only dataset that exists for it; null: all of its owner.
    sa.Column("dataset", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("used_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Index("tokens_account", "account_id"),
    sqlite_autoincrement=True,
)

#: Links that set a password once (people/invitations.py).
invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    #: Whose password it sets; null: the link makes the first administrator.
    sa.Column("account_id", sa.ForeignKey("accounts.id")),
    sa.Column("expires_at", UtcDateTime),
)

#: Datasets that are not for everybody (people/access.py).
restricted_datasets = sa.Table(
    "restricted_datasets",
    metadata,
    sa.Column("dataset", sa.Text, primary_key=True),
)

#: Who may do what in a restricted dataset: an account or a group.
grants = sa.Table(
    "grants",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("account_id", sa.ForeignKey("accounts.id")),
    sa.Column("group_id", sa.ForeignKey("groups.id", ondelete="CASCADE")),
    sa.Column("role", sa.Text, nullable=False),
    sa.UniqueConstraint("dataset", "account_id"),
    sa.UniqueConstraint("dataset", "group_id"),
    sqlite_autoincrement=True,
)

#: One row: a number that each change of what somebody may see or do makes larger.
policy_versions = sa.Table(
    "policy_versions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)

#: Who did what, or was refused (people/audit.py). Rows are only added.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    #: The name of the account; null: nobody who is known.
    sa.Column("actor", sa.Text),
    #: web, api, cli.
    sa.Column("via", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    #: ok, refused.
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("audit_at", "at"),
    sa.Index("audit_actor", "actor", "id"),
    sa.Index("audit_action", "action", "id"),
    sa.Index("audit_object", "object", "id"),
    sa.Index("audit_result", "result", "id"),
    sqlite_autoincrement=True,
)

#: Files that arrive, or arrived, in several requests (incoming.py).
incoming_files = sa.Table(
    "incoming_files",
    metadata,
    #: 32 hexadecimal digits: the name of the stored file too.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("filename", sa.Text, nullable=False),
    #: Bytes of the whole file.
    sa.Column("size", sa.BigInteger, nullable=False),
    #: The header Upload-Metadata, as it was sent.
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("account_id", sa.BigInteger),
    sa.Column("token_id", sa.BigInteger),
    #: Whether the form of a page sends it.
    sa.Column("is_of_form", sa.Boolean, nullable=False),
    #: Where the bytes begin that nobody has compared with their checksum yet; null: there are none.
    sa.Column("unchecked_from", sa.BigInteger),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    #: When its upload was created, or the file was removed; null: it is still arriving.
    sa.Column("ended_at", UtcDateTime),
    #: The upload of the finished file.
    sa.Column("upload_id", sa.ForeignKey("uploads.id")),
    #: Of those that are arriving, or were removed: a few, whatever the history has.
    sa.Index(
        "incoming_files_without_upload",
        "ended_at",
        "expires_at",
        sqlite_where=sa.text("upload_id IS NULL"),
        postgresql_where=sa.text("upload_id IS NULL"),
    ),
)

#: The parts of files that arrive in several requests, if they are objects in a bucket.
incoming_parts = sa.Table(
    "incoming_parts",
    metadata,
    sa.Column("incoming_id", sa.ForeignKey("incoming_files.id", ondelete="CASCADE"), primary_key=True),
    #: Where in the file it begins.
    sa.Column("begin", sa.BigInteger, primary_key=True, autoincrement=False),
    #: Bytes.
    sa.Column("size", sa.BigInteger, nullable=False),
    #: The name of the object.
    sa.Column("object", sa.Text, nullable=False),
)

#: What happened to uploads since the first one, whatever became of their records (totals.py). Triggers count.
totals = sa.Table(
    "totals",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

#: On PostgreSQL: what is still to be added to them.
totals_added = sa.Table(
    "totals_added",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)
