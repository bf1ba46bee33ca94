"""A peer: `peer_orm.py FILE DATABASE`. Each row is validated by pydantic and sent by SQLAlchemy's ORM on its own.

So one that fails is known and leaves the others alone. A commit each 1,000 rows.
"""

import csv
import sys
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import sqlalchemy as sa
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

#: Rows between two commits.
BATCH = 1_000


class Checked(BaseModel):
    """What a row must be like: the rules of data.SCHEMA."""

    key: Annotated[str, Field(pattern=r"^K[0-9]{9}$")]
    name: Annotated[str, Field(max_length=60)]
    quantity: Annotated[int, Field(ge=0)]
    price: Annotated[Decimal, Field(ge=0)]
    sold: date
    paid: bool
    category: Literal["tools", "toys", "books", "garden", "kitchen", "music", "office"]
    note: Annotated[str, Field(max_length=200)]


class Base(DeclarativeBase):
    """SQLAlchemy's."""


class Stored(Base):
    """The same as a table."""

    __tablename__ = "rows"

    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    quantity: Mapped[int]
    price: Mapped[float]
    sold: Mapped[date]
    paid: Mapped[bool]
    category: Mapped[str]
    note: Mapped[str]


def main(file: str, database: str) -> None:
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    Base.metadata.create_all(engine)
    failed = []
    with open(file, encoding="utf-8", newline="") as opened, Session(engine) as session:
        session.connection().exec_driver_sql("PRAGMA synchronous = NORMAL")
        for number, row in enumerate(csv.DictReader(opened), start=1):
            try:
                checked = Checked.model_validate(row)
                with session.begin_nested():
                    session.add(Stored(**checked.model_dump()))
            except (ValidationError, sa.exc.IntegrityError) as error:
                failed.append((number, str(error)))
            if number % BATCH == 0:
                session.commit()
        session.commit()
    engine.dispose()
    print(f"{len(failed)} rows failed.")


if __name__ == "__main__":
    main(*sys.argv[1:])
