"""Python's websockets as a client of our server: websockets_client.py PORT WHO [die]"""
import asyncio
import os
import signal
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]

port, who, *mode = sys.argv[1:]
server = f"ws://127.0.0.1:{port}"


def to(path, **options):
    return connect(server + path, max_size=16 << 20, proxy=None, **options)


def same(what, got, expected):
    if got != expected:
        raise AssertionError(f"{what}: {got!r:.100} instead of {expected!r:.100}")


async def echo():
    async with to("/echo") as ws:
        for size in SIZES:
            text = "é" * (size // 2) + "e" * (size % 2)
            data = bytes(i % 251 for i in range(size))
            for message in (text, data):
                await ws.send(message)
                same(f"{size} bytes", await ws.recv(), message)


async def order():
    async with to("/echo") as ws:
        for i in range(1000):
            await ws.send(str(i))
        for i in range(1000):
            same("a message", await ws.recv(), str(i))


async def count():
    async with to("/count") as ws:
        same("what comes", [message async for message in ws], [str(i) for i in range(1000)])
        same("the end", (ws.close_code, ws.close_reason), (1000, ""))


async def fragments():
    async with to("/echo") as ws:
        await ws.send(iter(["a text ", "", "in pieces: ", "é"]))
        same("the echo", await ws.recv(), "a text in pieces: é")


async def we_close():
    for code, reason in ((1000, ""), (1001, "going away"), (3001, "fertig für heute"), (4999, "")):
        async with to("/echo") as ws:
            await ws.close(code, reason)
            same("the end", ws.close_code, code)
            same("who began", ws.protocol.close_rcvd_then_sent, False)


async def they_close():
    for code, reason in ((1000, ""), (1011, "it broke"), (3001, "für heute"), (4999, "")):
        async with to("/close") as ws:
            await ws.send(f"{code} {reason}")
            await asyncio.wait_for(ws.wait_closed(), 10)
            same("the end", (ws.close_code, ws.close_reason), (code, reason))
            same("who began", ws.protocol.close_rcvd_then_sent, True)


async def subprotocol():
    async with to("/subprotocol", subprotocols=["v9", "v1"]) as ws:
        same("the subprotocol", ws.subprotocol, "v1")


async def no_subprotocol():
    async with to("/subprotocol", subprotocols=["v9"]) as ws:
        same("the subprotocol", ws.subprotocol, None)


async def refused():
    try:
        async with to("/refuse"):
            raise AssertionError("connected")
    except InvalidStatus as error:
        same("the refusal", (error.response.status_code, error.response.body), (403, b"not for you\n"))


async def keepalive():
    """Its Pings are answered, and ours are."""
    async with to("/idle", ping_interval=0.2, ping_timeout=2) as ws:
        same("the sign of life", await asyncio.wait_for(ws.recv(), 10), "alive")
        if not 0 < ws.latency < 1:
            raise AssertionError(f"latency {ws.latency}")
        sent = time.perf_counter()
        await asyncio.wait_for(await ws.ping("payload"), 5)
        if time.perf_counter() - sent > 1:
            raise AssertionError("a Pong that took a second")


async def compression():
    """The offer of permessage-deflate is declined, unless our server was told to accept it."""
    async with to("/echo") as ws:
        names = [extension.name for extension in ws.protocol.extensions]
        same("extensions", names, ["permessage-deflate"] if os.environ.get("DEFLATE") else [])
        for i in range(100):
            text = f"message {i} of many that say " + i * "the same "
            await ws.send(text)
            same("the echo", await ws.recv(), text)


async def die():
    """Ends in the middle of a message, without a word to the server."""
    async def pieces():
        yield b"x" * 1000
        await asyncio.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)

    async with to("/dying") as ws:
        await ws.send(pieces())


async def main():
    if mode == ["die"]:
        await die()
    failed = False
    for check in (echo, order, count, fragments, we_close, they_close, subprotocol,
                  no_subprotocol, refused, keepalive, compression):
        name = f"websockets, {who}: {check.__name__}"
        began = time.perf_counter()
        try:
            await asyncio.wait_for(check(), 20)
            print(f"ok   {name} ({1000 * (time.perf_counter() - began):.0f} ms)", flush=True)
        except Exception as error:
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
            failed = True
    return failed


sys.exit(asyncio.run(main()))
