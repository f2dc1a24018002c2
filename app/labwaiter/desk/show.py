"""The desk's page: the steps of a running workflow and their status pages, as a portal frames them."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, render_template
from werkzeug.serving import make_server

from .workflow import Workflow

LAST_LOOK = 5.0  # s that a browser has to fetch how it ended


class Page:
    """The page of one workflow, served to this machine alone until it is closed."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._seen = threading.Event()  # a browser has all of how it ended
        self.watched = False
        self._app = self._flask()
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, name="page", daemon=True).start()

    def _flask(self) -> Flask:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        app = Flask("labwaiter.desk", static_folder=None, template_folder="")
        vars(app.json)["sort_keys"] = False  # inputs stay in the file's order, live and in what is saved
        app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}
        seen = self._workflow.seen

        @app.get("/")
        def index() -> str:
            return self._written(None)

        @app.get("/state")
        def state() -> Response:
            self.watched = True
            return jsonify(self._as_data())

        @app.get("/step/<int:number>")
        def step(number: int) -> Response:
            if number >= len(seen) or not seen[number].page:
                abort(404)
            # as text: a page of somebody's service acts in the sandboxed frame alone
            return Response(seen[number].page, content_type="text/plain; charset=utf-8")

        @app.get("/seen")
        def all_seen() -> Response:
            if self._workflow.over.is_set():
                self._seen.set()
            return Response("", 204)

        return app

    def _as_data(self) -> dict[str, Any]:
        over = self._workflow.over.is_set()  # asked first: what follows is then the last
        steps = [{k: v for k, v in asdict(seen).items() if k != "page"} for seen in list(self._workflow.seen)]
        return {"steps": steps, "outputs": self._workflow.outputs, "over": over, "now": time.time()}

    def _written(self, saved: dict[str, Any] | None) -> str:
        with self._app.app_context():
            return render_template("page.html.j2", title=self._workflow.plan.file.name, saved=saved)

    def save(self, file: Path) -> None:
        """Keep it as it is now, with the last status page of each step, in a file of its own. Raises OSError."""
        pages = [seen.page for seen in self._workflow.seen]
        file.write_text(self._written({**self._as_data(), "pages": pages}), encoding="utf-8")

    def close(self) -> None:
        """End it, once the browser that watches has seen how it ended."""
        if self.watched:
            self._seen.wait(LAST_LOOK)
        self._server.shutdown()
