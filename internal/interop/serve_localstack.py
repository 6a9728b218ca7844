"""Serves LocalStack's AWS KMS, and nothing else of LocalStack, on a port of the loopback interface; see README.md."""

import sys

from localstack.aws import handlers
from localstack.aws.api import RequestContext
from localstack.aws.gateway import Gateway
from localstack.aws.handlers.service import SkeletonHandler
from localstack.aws.skeleton import create_skeleton
from localstack.services.kms.provider import KmsProvider
from rolo.gateway.wsgi import WsgiGateway
from werkzeug.serving import make_server


def main(port):
    gateway = Gateway(
        request_handlers=[
            handlers.parse_service_name,
            handlers.add_region_from_header,
            handlers.add_account_id,
            handlers.parse_service_request,
            SkeletonHandler(create_skeleton("kms", KmsProvider())),
        ],
        exception_handlers=[handlers.handle_service_exception],
        context_class=RequestContext,
    )
    make_server("127.0.0.1", int(port), WsgiGateway(gateway), threaded=True).serve_forever()


main(*sys.argv[1:])
