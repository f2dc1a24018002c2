"""A real nginx before a web side."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PROGRAM = shutil.which("nginx")
CONF = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    proxy_http_version 1.1;
    {http}
}}
"""


def start(folder: Path, http: str) -> subprocess.Popen[bytes]:
    """One that keeps its files in this folder; `http`: what its configuration has in that block besides."""
    (folder / "nginx.conf").write_text(CONF.format(folder=folder, http=http))
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stdout=log, stderr=log)
