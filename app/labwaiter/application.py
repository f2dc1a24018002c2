"""The WSGI application of this deployment, as a web server imports it: `labwaiter.application:application`."""

import logging
import os

from . import settings
from .authentication import authenticator
from .catalogue import catalogue
from .system import logs
from .wsgi import Application

# a worker of the web side, not somebody's own WSGI server; what it starts from here on is no part of the web side
worker = os.environ.pop("LABWAITER_WEB", None) is not None

_settings = settings.load()
_out = logs.set_up("web", _settings.log_format, _settings.layout.web_log if worker else None)
if not _settings.judges_tokens and not os.environ.get("LABWAITER_QUIET"):
    logging.getLogger("labwaiter").warning("%s", authenticator.words(_settings))

application = Application(_settings, catalogue.of(_settings))
if worker:
    application.keep_signing(_out)
