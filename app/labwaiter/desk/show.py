"""The desk's page: the steps of a running workflow and their status pages, as a portal frames them."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict
from typing import Any

from flask import Flask, Response, abort, jsonify, render_template
from werkzeug.serving import make_server

from .workflow import Workflow

LAST_LOOK = 5.0  # s that a browser has to fetch how it ended


class Page:
    """The page of one workflow, served to this machine alone until it is closed."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._looked = threading.Event()  # somebody has seen how it ended
        self.watched = False
        self._server = make_server("127.0.0.1", 0, self._flask(), threaded=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, name="page", daemon=True).start()

    def _flask(self) -> Flask:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        app = Flask("labwaiter.desk", static_folder=None, template_folder="")
        workflow = self._workflow

        @app.get("/")
        def index() -> str:
            return render_template("page.html.j2", title=workflow.plan.file.name)

        @app.get("/state")
        def state() -> Response:
            over = workflow.over.is_set()
            told: dict[str, Any] = {
                "steps": [{k: v for k, v in asdict(seen).items() if k != "page"} for seen in list(workflow.seen)],
                "outputs": workflow.outputs,
                "over": over,
            }
            self.watched = True
            if over:
                self._looked.set()
            return jsonify(told)

        @app.get("/step/<int:number>")
        def step(number: int) -> Response:
            if number >= len(workflow.seen) or not workflow.seen[number].page:
                abort(404)
            return Response(workflow.seen[number].page, content_type="text/html; charset=utf-8")

        return app

    def close(self) -> None:
        """End it, once the browser that watches has seen how it ended."""
        if self.watched:
            self._looked.wait(LAST_LOOK)
        self._server.shutdown()
