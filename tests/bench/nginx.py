"""An nginx on loopback that serves one folder, as a CDN would.

    nginx.py --root FOLDER --work FOLDER --info FILE [--gzip] [--log]

FILE gets its URL; with --log WORK/access.log gets the status and the bytes of each body, and what
was asked for.  The port is the kernel's choice: the socket is made here and handed over, so
that nobody can take the port in between.  This process becomes nginx: SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

CONFIG = """\
daemon off;
{user}
worker_processes 2;
pid {work}/nginx.pid;
error_log {work}/error.log warn;
events {{ worker_connections 256; }}
http {{
    log_format bytes "$status $body_bytes_sent $request_uri";
    access_log {access};
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        autoindex on;
        {gzip}
    }}
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="serve a folder with nginx")
    parser.add_argument("--root", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--gzip", action="store_true", help="compress whatever may be")
    parser.add_argument("--log", action="store_true", help="log requests")
    parser.add_argument("--info", required=True, help="file to write the URL to")
    args = parser.parse_args()

    work = os.path.abspath(args.work)
    os.makedirs(work, exist_ok=True)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    listener.set_inheritable(True)
    port = listener.getsockname()[1]
    path = os.path.join(work, "nginx.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(user="user root;" if os.geteuid() == 0 else "", work=work,
                                 access=f"{work}/access.log bytes" if args.log else "off",
                                 gzip="gzip on; gzip_types *; gzip_min_length 1;" if args.gzip else "",
                                 port=port, root=os.path.abspath(args.root)))
    with open(f"{args.info}.tmp", "w", encoding="utf-8") as file:
        file.write(f"http://127.0.0.1:{port}")
    os.replace(f"{args.info}.tmp", args.info)
    os.environ["NGINX"] = f"{listener.fileno()};"
    os.execvp("nginx", ["nginx", "-e", f"{work}/error.log", "-c", path])


if __name__ == "__main__":
    sys.exit(main())
