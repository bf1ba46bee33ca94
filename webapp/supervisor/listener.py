"""The listening socket: where it may be opened, and what is said when it cannot be."""

import errno
import ipaddress
import logging
import os
import socket
import time

from jobs.errors import SettingsError
from jobs.settings import Settings
from webapp.errors import CannotStartError

log = logging.getLogger(__name__)

#: Connections that may wait to be accepted: more than the pages a team has open when the web process comes back.
BACKLOG = 2048
#: Seconds between two tries for a port that is about to be free.
RETRY_SECONDS = 0.1


def check_host(settings: Settings) -> None:
    """Refuse an address that others can reach, unless that was asked for; then say what it means.

    Raises SettingsError.
    """
    if _address(settings.host).is_loopback:
        return
    if not settings.open:
        raise SettingsError(
            [
                f"HOST: {settings.host} can be reached from other machines, and nobody has to sign in here yet. "
                "Use 127.0.0.1, or say that you want this with --open (or BULK_UPLOAD_OPEN=true)."
            ]
        )
    log.warning(
        "Listening on %s without sign-in: anyone who can reach this address can upload, read and cancel everything.",
        settings.host,
    )


def listen(settings: Settings, patience: float = 0.0) -> socket.socket:
    """A listening socket on the host and port of the settings; port 0 takes any that is free.

    patience: seconds to wait for a port that is taken.
    Raises CannotStartError when the port cannot be had, SettingsError when the host is none of this machine.
    """
    address = _address(settings.host)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    deadline = time.monotonic() + patience
    while True:
        try:
            return socket.create_server((str(address), settings.port), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise _refusal(settings, error) from error
        time.sleep(RETRY_SECONDS)


def url(listener: socket.socket) -> str:
    """Where a browser on this machine finds what listens on this socket."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError([f"HOST: {host} is not an address or a name that this machine knows."]) from error
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])


def _refusal(settings: Settings, error: OSError) -> CannotStartError | SettingsError:
    if error.errno == errno.EADDRINUSE:
        return CannotStartError(
            f"Port {settings.port} on {settings.host} is already in use by another program. "
            "Stop that program, or choose another port with --port (or BULK_UPLOAD_PORT)."
        )
    if error.errno == errno.EACCES:
        return CannotStartError(
            f"This user may not listen on port {settings.port}. "
            "Choose one above 1023 with --port (or BULK_UPLOAD_PORT)."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return SettingsError([f"HOST: {settings.host} is not an address of this machine."])
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CannotStartError(f"Cannot listen on {settings.host}, port {settings.port}: {reason}.")
