"""Python's websockets as a server with the paths of ours; see peer/main.rs."""
import asyncio
import os
import signal

from websockets.asyncio.server import serve


def select_subprotocol(connection, offered):
    return next((name for name in ("v2", "v1") if name in offered), None)


def process_request(connection, request):
    if request.path == "/refuse":
        return connection.respond(403, "not for you\n")


async def pieces_and_death():
    yield b"x" * 1000
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


async def handler(ws):
    path = ws.request.path
    if path == "/close":
        code, _, reason = (await ws.recv()).partition(" ")
        await ws.close(int(code), reason)
    elif path == "/count":
        for i in range(1000):
            await ws.send(str(i))
        await ws.close(1000)
    elif path == "/die":
        await ws.send(pieces_and_death())
    else:
        if path == "/idle":
            await asyncio.sleep(1.2)
            await ws.send("alive" if ws.latency > 0 else "no latency")
        async for message in ws:
            await ws.send(message)


async def main():
    server = await serve(
        handler, "127.0.0.1", 0, select_subprotocol=select_subprotocol,
        process_request=process_request, compression="deflate" if os.environ.get("DEFLATE") else None,
        max_size=16 << 20, ping_interval=0.2, ping_timeout=2,
    )
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
