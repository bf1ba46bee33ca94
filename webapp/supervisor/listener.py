"""The listening socket: which addresses are allowed, and the errors when it cannot be opened."""

import errno
import ipaddress
import logging
import os
import socket
import time
from collections.abc import Callable

from jobs.errors import SettingsError
from jobs.settings import Settings
from webapp.errors import CannotStartError

log = logging.getLogger(__name__)

#: Connections that may wait to be accepted: more than a team's open pages, which all reconnect after a restart.
BACKLOG = 2048
#: Seconds between two attempts to open a port that is still in use.
RETRY_SECONDS = 0.1


def check_host(settings: Settings) -> None:
    """Reject an address that other machines can reach, unless the names are known by which they do. Raises
    SettingsError."""
    if not (_address(settings.host).is_loopback or settings.host_names):
        problem = (
            f"HOST: {settings.host} can be reached from other machines. Set BULK_UPLOAD_ALLOWED_HOSTS to the host names"
            " or addresses that their browsers use for this server."
        )
        raise SettingsError([problem] if _is_allowed(settings) else [problem, _unguarded(settings)])


def check_access(settings: Settings, has_account: Callable[[], bool]) -> None:
    """Reject an address that other machines can reach while nobody has to sign in, unless --open allows it. Then log
    what that means.

    has_account: whether the database has an account; asked only if the answer matters. Raises SettingsError.
    """
    is_near = _address(settings.host).is_loopback
    if is_near or _is_closed(settings) or has_account():
        return
    if not settings.open:
        raise SettingsError([_unguarded(settings)])
    log.warning(
        "Listening on %s without sign-in: anyone who can reach this address can upload, read and cancel everything.",
        settings.host,
    )


def _is_closed(settings: Settings) -> bool:
    """Whether nobody gets in without an account, although there may be none yet."""
    return bool(settings.setup or settings.oidc_issuer or settings.auth_header)


def _is_allowed(settings: Settings) -> bool:
    return _is_closed(settings) or settings.open


def _unguarded(settings: Settings) -> str:
    return (
        f"HOST: {settings.host} can be reached from other machines, and nobody has to sign in while there is no"
        " account. Add one with `bulk-upload user add NAME --role admin --password-stdin`, or set BULK_UPLOAD_SETUP=1"
        " and use the link that is then printed. --open (or BULK_UPLOAD_OPEN=true) lets everybody do everything."
    )


def listen(settings: Settings, patience: float = 0.0) -> socket.socket:
    """A listening socket on the host and port of the settings; port 0 picks a free port.

    patience: seconds to wait for a port that is in use.
    Raises CannotStartError if the port cannot be opened, SettingsError if the host is not of this machine.
    """
    address = _address(settings.host)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    deadline = time.monotonic() + patience
    while True:
        try:
            return socket.create_server((str(address), settings.port), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise _error(settings, error) from error
        time.sleep(RETRY_SECONDS)


def url(listener: socket.socket) -> str:
    """The URL at which a browser on this machine reaches this socket."""
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
        raise SettingsError([f"HOST: {host} is not an address, or a name that this machine can resolve."]) from error
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])


def _error(settings: Settings, error: OSError) -> CannotStartError | SettingsError:
    if error.errno == errno.EADDRINUSE:
        return CannotStartError(
            f"Port {settings.port} on {settings.host} is already in use by another program. "
            "Stop that program, or choose another port with --port (or BULK_UPLOAD_PORT)."
        )
    if error.errno == errno.EACCES:
        return CannotStartError(
            f"This user has no permission to listen on port {settings.port}. "
            "Choose a port above 1023 with --port (or BULK_UPLOAD_PORT)."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return SettingsError([f"HOST: {settings.host} is not an address of this machine."])
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CannotStartError(f"Cannot listen on {settings.host}, port {settings.port}: {reason}.")
