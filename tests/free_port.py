"""A port of this machine that nobody listens on."""

import socket
import sys

held: list[socket.socket] = []


def free_port() -> int:
    """Until this process ends the system gives it to nobody who asks for any port: a bound one that does not listen is
    for those alone who name it, and set SO_REUSEADDR, as servers do."""
    any_port = socket.socket()
    any_port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    any_port.bind(("127.0.0.1", 0))
    port = any_port.getsockname()[1]
    if sys.platform == "linux":  # elsewhere it would keep the servers out as well
        held.append(any_port)
    else:
        any_port.close()
    return port
