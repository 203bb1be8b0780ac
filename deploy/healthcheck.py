"""Exit 0 while asr-server on this host answers /readyz with 200, else 1.

The health port and its address are taken from ASR_HEALTH_PORT and ASR_ADMIN_HOST. http.client is
used because it ignores the proxy variables that a container may have been given.
"""

import http.client
import os
import sys


def main() -> int:
    """Ask once; any failure to get a 200 within 3 s is an unhealthy server."""
    port = int(os.environ.get("ASR_HEALTH_PORT") or "8003")
    host = os.environ.get("ASR_ADMIN_HOST") or "127.0.0.1"
    # Where a server listens on every address, loopback reaches it.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(host, port, timeout=3)
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
