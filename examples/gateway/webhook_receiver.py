"""Receive and verify the webhooks of jobs.

Needs standardwebhooks.

WEBHOOK_SECRET=whsec_… python webhook_receiver.py --port 9000
"""

import argparse
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SEEN: set[str] = set()
"""A call may come twice; a real receiver keeps the ids in its database."""


class Receiver(BaseHTTPRequestHandler):
    """Prints each event once."""

    def do_POST(self) -> None:
        """Answer 204 to a genuine call, 401 to any other."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            event = Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, dict(self.headers.items()))
        except WebhookVerificationError:
            self.send_response(401)
            self.end_headers()
            return
        if self.headers["webhook-id"] not in SEEN:
            SEEN.add(self.headers["webhook-id"])
            print(event["type"], event["data"]["id"], flush=True)
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Receiver)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()
