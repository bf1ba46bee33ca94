"""A peer: `peer_django.py FILE DATABASE`. django-import-export in bulk, with the model's own validation and no dry run.

Neither Django nor it is installed where this is checked, so both are imported by name.
"""

import sys
from importlib import import_module
from typing import Any


def configured(database: str) -> Any:
    """Django with one database and no app of its own."""
    import_module("django.conf").settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        INSTALLED_APPS=["import_export"],
        USE_TZ=True,
    )
    import_module("django").setup()
    return import_module("django.db")


def model(db: Any) -> Any:
    """The rules of data.SCHEMA as a model."""
    models = db.models
    matches = import_module("django.core.validators").RegexValidator(r"^K[0-9]{9}$")
    at_least_zero = import_module("django.core.validators").MinValueValidator(0)
    categories = ["tools", "toys", "books", "garden", "kitchen", "music", "office"]
    columns = {
        "key": models.CharField(max_length=10, primary_key=True, validators=[matches]),
        "name": models.CharField(max_length=60),
        "quantity": models.BigIntegerField(validators=[at_least_zero]),
        "price": models.DecimalField(max_digits=15, decimal_places=2, validators=[at_least_zero]),
        "sold": models.DateField(),
        "paid": models.BooleanField(),
        "category": models.CharField(max_length=20, choices=[(each, each) for each in categories]),
        "note": models.CharField(max_length=200),
    }
    meta = type("Meta", (), {"app_label": "peer"})
    return type("Row", (models.Model,), {**columns, "Meta": meta, "__module__": __name__})


def resource(stored: Any) -> Any:
    """What imports rows of the model."""
    options = {
        "model": stored,
        "import_id_fields": ["key"],
        "use_bulk": True,
        "batch_size": 1_000,
        "skip_diff": True,
        "clean_model_instances": True,
    }
    meta = type("Meta", (), options)
    return type("RowResource", (import_module("import_export.resources").ModelResource,), {"Meta": meta})()


def main(file: str, database: str) -> None:
    db = configured(database)
    stored = model(db)
    with db.connection.schema_editor() as editor:
        editor.create_model(stored)
    with open(file, encoding="utf-8", newline="") as opened:
        rows = import_module("tablib").Dataset().load(opened.read(), format="csv")
    result = resource(stored).import_data(rows, dry_run=False)
    if result.has_errors() or stored.objects.count() != len(rows):
        sys.exit(f"The import went wrong: {result.totals}")


if __name__ == "__main__":
    main(*sys.argv[1:])
