"""Prints every request head it gets, and answers 418. With `smuggle` it is a proxy that agrees to
everything, and sends what looks like the server's answer with its own."""
import socket
import sys

SMUGGLED = (
    b"HTTP/1.1 200 OK\r\n\r\n"
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x04evil"
)
REFUSAL = b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

answer = SMUGGLED if sys.argv[1:] == ["smuggle"] else REFUSAL
listener = socket.create_server(("127.0.0.1", 0))
print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
while True:
    stream, _ = listener.accept()
    with stream:
        stream.settimeout(10)
        head = b""
        while b"\r\n\r\n" not in head:
            more = stream.recv(4096)
            if not more:
                break
            head += more
        print(head.decode("latin-1").replace("\r\n", "\n"), flush=True)
        if head:
            stream.sendall(answer)
