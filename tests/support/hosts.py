"""Hosts of one network, each in a network namespace of its own: they reach each other by the network only."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from tests import ROOT

#: The end of the address of whoever looks at the hosts from outside; theirs follow.
OUTSIDE = 1


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """A bridge in a namespace of its own, to which hosts and the test are connected."""

    def __init__(self) -> None:
        number = os.getpid()
        self._name = f"bh{number % 100_000}"
        #: Of all addresses: tests that run at the same time have others.
        self.prefix = f"10.{200 + number // 250 % 50}.{number % 250}"
        self._count = OUTSIDE
        self.hosts: list[Host] = []
        try:
            _ip("netns", "add", self._name)
            self.inside("link", "add", "bridge", "type", "bridge")
            self.inside("link", "set", "bridge", "up")
            _ip("link", "add", f"{self._name}o", "type", "veth", "peer", "name", "outside", "netns", self._name)
            self.inside("link", "set", "outside", "master", "bridge", "up")
            _ip("addr", "add", f"{self.prefix}.{OUTSIDE}/24", "dev", f"{self._name}o")
            _ip("link", "set", f"{self._name}o", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.remove()
            pytest.skip(f"needs the permission to make network namespaces: {error}")

    def inside(self, *words: str) -> None:
        _ip("-n", self._name, *words)

    def host(self, name: str) -> "Host":
        self._count += 1
        made = Host(self, f"{self._name}{name}", f"{self._name[2:]}{self._count}", f"{self.prefix}.{self._count}")
        self.hosts.append(made)
        return made

    def remove(self) -> None:
        for host in self.hosts:
            host.remove()
        # The kernel takes its time to remove a namespace: without its link, nothing is sent there meanwhile.
        for words in (["link", "del", f"{self._name}o"], ["netns", "del", self._name]):
            with suppress(OSError):
                subprocess.run(["ip", *words], capture_output=True, check=False)

    def __enter__(self) -> Self:
        """Whoever ends this process by SIGTERM, as `timeout` does, interrupts it, so that all is removed."""
        self._handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
        signal.signal(signal.SIGTERM, self._handler)


class Host:
    """Processes with an address. Each of them is started again as it was after the host was killed."""

    def __init__(self, network: Network, namespace: str, link: str, address: str) -> None:
        self._network, self._namespace, self._link = network, namespace, f"v{link}"
        self.address = address
        self.folder = Path(tempfile.mkdtemp(prefix="bulk-host-"))
        self._commands: list[tuple[Sequence[str], Mapping[str, str], str | None]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", self._link)
        _ip("-n", namespace, "link", "set", self._link, "netns", network._name)
        network.inside("link", "set", self._link, "master", "bridge", "up")
        _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")

    def run(self, *words: str, environment: Mapping[str, str] | None = None, user: str | None = None) -> None:
        """Start a program here."""
        self._commands.append((words, environment or {}, user))
        self._begin(*self._commands[-1])

    def _begin(self, words: Sequence[str], environment: Mapping[str, str], user: str | None) -> None:
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self._namespace, *as_user, *words],
                env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.folder), **environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def kill(self) -> None:
        """End all its processes at once, as a loss of power does; files stay."""
        self._signal(signal.SIGKILL)
        for process_ in self._processes:
            process_.wait(60)
        self._processes = []

    def _signal(self, number: signal.Signals) -> None:
        """Twice: a process may have begun another one meanwhile."""
        for _ in range(2):
            found = subprocess.run(["ip", "netns", "pids", self._namespace], capture_output=True, text=True, check=True)
            for process in map(int, found.stdout.split()):
                with suppress(ProcessLookupError):
                    os.kill(process, number)

    def stop(self) -> None:
        """Let all its processes stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def forget(self) -> None:
        """Start nothing of what ran here again."""
        self._commands.clear()

    def start(self) -> None:
        for command in self._commands:
            self._begin(*command)

    def cut(self) -> None:
        """Nothing reaches it, and nothing of it reaches others. Nobody is told."""
        self._network.inside("link", "set", self._link, "nomaster")

    def mend(self) -> None:
        self._network.inside("link", "set", self._link, "master", "bridge")

    def remove(self) -> None:
        with suppress(subprocess.SubprocessError):
            self.kill()
        subprocess.run(["ip", "netns", "del", self._namespace], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
