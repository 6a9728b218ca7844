"""Serves moto on a port of the loopback interface, one request at a time; see README.md."""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple


def main(port):
    moto = DomainDispatcherApplication(create_backend_app)
    turn = threading.Lock()

    def app(environ, start_response):
        with turn:
            return moto(environ, start_response)

    # Threads all the same: a connection that says nothing must not hold up the others.
    run_simple("127.0.0.1", int(port), app, threaded=True, request_handler=MotoRequestHandler)


main(*sys.argv[1:])
