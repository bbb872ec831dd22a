"""A whole origin on loopback for the tests: a Hub, its CDN, and a web server.

    origin.py --root DIR --info FILE [options]

FILE is written once everything listens: pid, the URLs, and where the request log is.  Tests
change what is served by changing files below DIR (repos.py, web.py, faults.py) and read the log
(log.py).  SIGTERM ends it at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys

import log
from cdn import Cdn, Signer
from faults import Faults
from httpbase import Server
from hub import Hub
from repos import Store, write_json
from web import Web


def main() -> None:
    parser = argparse.ArgumentParser(description="serve a Hub, a CDN and a web server")
    parser.add_argument("--root", required=True)
    parser.add_argument("--info", required=True, help="file to write URLs to")
    parser.add_argument("--port-hub", type=int, default=0)
    parser.add_argument("--port-cdn", type=int, default=0)
    parser.add_argument("--port-web", type=int, default=0)
    parser.add_argument("--page-size", type=int, default=1000, help="entries of a tree page")
    parser.add_argument("--signed-ttl", type=float, default=3600, metavar="SECONDS")
    parser.add_argument("--cdn-url", help="sign URLs for this base instead of the own CDN")
    parser.add_argument("--tls", metavar="FILE",
                        help="the web server is also a proxy for https, with this certificate and "
                             "key for every host")
    parser.add_argument("--git-direct", action="store_true",
                        help="answer git files at once instead of with a redirect")
    args = parser.parse_args()

    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    root = os.path.abspath(args.root)
    os.makedirs(os.path.join(root, "web"), exist_ok=True)

    faults = Faults(root)
    hub = Server("hub", "127.0.0.1", args.port_hub, root, faults)
    cdn = Server("cdn", "127.0.0.2", args.port_cdn, root, faults)
    web = Server("web", "127.0.0.1", args.port_web, root, faults)
    store = Store(root)
    signer = Signer(args.cdn_url or cdn.url, args.signed_ttl)
    web.application = Web(root, cdn.url)
    cdn.application = Cdn(store, signer, web.application)
    hub.application = Hub(store, hub.url, signer, args.page_size, args.git_direct)
    if args.tls:
        web.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        web.tls.load_cert_chain(args.tls)
    servers = [hub, cdn, web]
    for server in servers:
        server.start()
    write_json(os.path.abspath(args.info), {
        "pid": os.getpid(), "hub": hub.url, "cdn": cdn.url, "web": web.url,
        "log": os.path.join(root, log.ENDED)})
    signal.sigwait(signals)
    for server in servers:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
