"""What a request finds in `request.state`: made once, when the process starts."""

from typing import TypedDict

from starlette.requests import Request

from jobs.database import Database
from jobs.events import Publisher
from jobs.queue import UploadQueue
from jobs.settings import Settings
from webapp.fragments import Fragments
from webapp.hub import Hub
from webapp.live import Live


class AppState(TypedDict):
    settings: Settings
    database: Database
    queue: UploadQueue
    publisher: Publisher
    hub: Hub
    fragments: Fragments
    live: Live


AppRequest = Request[AppState]
