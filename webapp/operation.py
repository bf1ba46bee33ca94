"""Operation: what a route of the API takes and how it answers, said where the route is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from webapp.parameters import Parameter

#: A type whose values are JSON, or a schema that is written out.
Kind = Any

JSON, STREAM = "application/json", "text/event-stream"
#: Bytes that no schema describes.
BINARY: Mapping[str, Any] = {"type": "string", "format": "binary"}
#: A message of an event stream.
MESSAGE: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "id": {"type": "string", "description": "For Last-Event-ID."},
        "data": {"type": "string", "contentMediaType": JSON},
        "retry": {"type": "integer"},
    },
}


@dataclass(frozen=True)
class Answer:
    """content: what a body is, by its media type; none: there is no body."""

    description: str
    content: Mapping[str, Kind] = field(default_factory=dict)
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Operation:
    """answers: by status, without problems. query, headers: that the route reads. body: by media type. problems:
    statuses besides those that follow from the path, the query, the body and the needs of a route."""

    summary: str
    answers: Mapping[int, Answer]
    query: Sequence[Parameter[Any]] = ()
    headers: Sequence[Parameter[Any]] = ()
    body: Mapping[str, TypeAdapter[Any] | Mapping[str, Any]] = field(default_factory=dict)
    body_needed: bool = True
    problems: Sequence[int] = ()
    reads_filters: bool = False


def answer(kind: Kind, description: str = "What was asked for.") -> dict[int, Answer]:
    """200 with JSON."""
    return {200: Answer(description, {JSON: kind})}


def made(kind: Kind, *headers: str) -> dict[int, Answer]:
    """201 with JSON."""
    return {201: Answer("What was made.", {JSON: kind}, headers)}


def file(media_type: str, description: str) -> dict[int, Answer]:
    """200 with a download."""
    return {200: Answer(description, {media_type.partition(";")[0]: BINARY}, ("Content-Disposition",))}


def stream(description: str) -> dict[int, Answer]:
    """200 with an event stream."""
    return {200: Answer(description, {STREAM: MESSAGE})}


#: 204.
DONE: Mapping[int, Answer] = {204: Answer("Done.")}
