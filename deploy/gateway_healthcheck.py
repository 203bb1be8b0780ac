"""Exit 0 while asr-gateway on this host answers /readyz with 200, else 1.

Port, address and TLS are taken from the gateway's own variables. http.client is used because it
ignores the proxy variables that a container may have been given.
"""

import http.client
import os
import ssl
import sys


def main() -> int:
    """Ask once; any failure to get a 200 within 3 s is an unhealthy gateway."""
    port = int(os.environ.get("ASR_GATEWAY_HTTP_PORT") or "8080")
    host = os.environ.get("ASR_GATEWAY_HOST") or "127.0.0.1"
    # Where a gateway listens on every address, loopback reaches it.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(host, port, timeout=3)
    if os.environ.get("ASR_GATEWAY_TLS_CERT"):
        # Nothing secret is sent, and the certificate names the host that callers use.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, port, timeout=3, context=context)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        print(response.status, response.read(4096).decode(errors="replace"))
        return 0 if response.status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        print(error)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
