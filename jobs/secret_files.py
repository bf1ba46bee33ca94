"""Secrets in files: a variable such as DATABASE_URL_FILE names the file that has the value of DATABASE_URL.

Container platforms and systemd hand secrets out as files. Unlike an environment, a file is not shown by `docker
inspect` or `systemctl show`, and programs that a process starts do not inherit it.
"""

import os
from pathlib import Path

from jobs.errors import SettingsError

#: Bytes of the largest file that may hold a secret; anything larger is the wrong file.
LARGEST = 64 * 1024


def read(variable: str) -> str | None:
    """The secret in the file that `<variable>_FILE` names, without the line end behind it; None: it names none.

    Raises SettingsError if the file cannot be read, is empty, or the variable itself is set too.
    """
    name = f"{variable}_FILE"
    path = os.environ.get(name)
    if not path:
        return None
    if os.environ.get(variable):
        raise SettingsError([f"{name}: {variable} is set too; set one of the two"])
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
        secret = content.decode().strip("\r\n")
    except OSError as error:
        raise SettingsError([f"{name}: {path} cannot be read ({error.strerror})"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{name}: {path} is not text in UTF-8"]) from error
    if len(content) > LARGEST or not secret or "\n" in secret or "\0" in secret:
        raise SettingsError([f"{name}: {path} has to hold the value of {variable} on its only line"])
    return secret


def is_named(variable: str) -> bool:
    """Whether a file has the value of a variable, so that the children of this process read it there."""
    return bool(os.environ.get(f"{variable}_FILE"))
