"""Real proxies in front of a web process: each on a free port of this machine, with files of its own."""

import getpass
import os
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from tests import ROOT
from tests.support.parts import require
from tests.support.waiting import until

#: What Debian's nginx needs to run as any user, and the two lines that any proxy has. The rest is default, except that
#: it compresses everything: nginx then buffers a response until its end, unless the response's headers forbid it.
NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  gzip on;
  gzip_types *;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
    }}
  }}
}}
"""

#: Isolates caddy: no port for administration or redirects, no certificate in the trust store.
CADDY = """
{
	admin off
	auto_https disable_redirects
	skip_install_trust
	default_bind 127.0.0.1
}
"""


class _Proxy:
    """Inside the block it forwards requests from `url` to `upstream`."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self._folder = folder
        folder.mkdir()
        self._upstream = upstream
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.url = self._address()
        self._process = self._start()
        try:
            until(self._answers, f"{self.url} to answer; the log: {self.log}")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _address(self) -> str:
        raise NotImplementedError

    def _start(self) -> "subprocess.Popen[bytes]":
        raise NotImplementedError

    def _run(self, *words: str, **variables: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("wb") as log:
            environment = {**os.environ, **variables}
            return subprocess.Popen(words, cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stderr=log)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text("utf-8")

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz", verify=False).status_code == 200
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()


class Nginx(_Proxy):
    """nginx with default settings except for compression, over HTTP/1.1."""

    def _address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _start(self) -> "subprocess.Popen[bytes]":
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        require(program is not None, "needs a proxy: apt install nginx-light")
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        config = self._folder / "nginx.conf"
        config.write_text(NGINX.format(user=user, folder=self._folder, port=self._port, upstream=self._upstream))
        return self._run(str(program), "-e", "stderr", "-p", str(self._folder), "-c", str(config))


class Caddy(_Proxy):
    """Caddy with deploy/Caddyfile, over TLS and HTTP/2."""

    def _address(self) -> str:
        return f"https://localhost:{self._port}"

    def _start(self) -> "subprocess.Popen[bytes]":
        program = shutil.which("caddy")
        require(program is not None, "needs a proxy: apt install caddy")
        ours, placeholder = (ROOT / "deploy" / "Caddyfile").read_text("utf-8"), "127.0.0.1:8000"
        assert placeholder in ours
        config = self._folder / "Caddyfile"
        config.write_text(CADDY + ours.replace(placeholder, self._upstream.removeprefix("http://")), "utf-8")
        homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(self._folder))
        words = ["run", "--config", str(config), "--adapter", "caddyfile"]
        return self._run(str(program), *words, BULK_UPLOAD_DOMAIN=self.url, **homes)
