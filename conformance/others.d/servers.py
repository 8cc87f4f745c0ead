"""Echo servers of Python packages, with default settings: `servers.py NAME`.

Prints `port N`, and serves until it is ended.
"""

import asyncio
import logging
import socket
import sys

logging.disable()  # thousands of traces, and their time

listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listening.bind(("127.0.0.1", 0))
listening.listen(128)
listening.setblocking(False)


async def websockets():
    from websockets.asyncio.server import serve

    async with serve(echo, sock=listening):
        await asyncio.Future()


async def picows():
    from picows.websockets.asyncio.server import serve

    async with serve(echo, sock=listening):
        await asyncio.Future()


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def picows_core():
    from picows import WSListener, WSMsgType, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport, frame):
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
                transport.send(frame.msg_type, frame.get_payload_as_bytes(), frame.fin)

    server = await ws_create_server(lambda request: Echo(), sock=listening)
    await server.serve_forever()


async def aiohttp():
    from aiohttp import web

    async def handler(request):
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            if message.type == web.WSMsgType.TEXT:
                await connection.send_str(message.data)
            elif message.type == web.WSMsgType.BINARY:
                await connection.send_bytes(message.data)
        return connection

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    await asyncio.Future()


async def tornado():
    from tornado.httpserver import HTTPServer
    from tornado.web import Application
    from tornado.websocket import WebSocketHandler

    class Echo(WebSocketHandler):
        async def on_message(self, message):
            await self.write_message(message, binary=isinstance(message, bytes))

    HTTPServer(Application([("/", Echo)])).add_socket(listening)
    await asyncio.Future()


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    if scope["type"] != "websocket":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        back = {"bytes": event["bytes"]} if text is None else {"text": text}
        await send({"type": "websocket.send", **back})


async def uvicorn(implementation):
    from uvicorn import Config, Server

    config = Config(asgi, ws=implementation, log_level="critical")
    await Server(config).serve(sockets=[listening])


async def hypercorn():
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.errorlog = None
    await serve(asgi, config)


def trio_websocket():
    import trio
    from trio_websocket import ConnectionClosed, serve_websocket

    listening.close()

    async def handler(request):
        try:  # what gets out of here ends the whole server
            connection = await request.accept()
            while True:
                await connection.send_message(await connection.get_message())
        except ConnectionClosed:
            pass

    async def main():
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, None)
            print("port", server.port, flush=True)

    trio.run(main)


def socketify():
    from socketify import App

    listening.close()
    app = App()
    app.ws("/", {"message": lambda connection, message, opcode: connection.send(message, opcode)})
    app.listen(
        {"host": "127.0.0.1", "port": 0},
        lambda config: print("port", config.port, flush=True),
    )
    app.run()


name = sys.argv[1]
if name in ("socketify", "trio-websocket"):
    globals()[name.replace("-", "_")]()
print("port", listening.getsockname()[1], flush=True)
if name.startswith("uvicorn-"):
    asyncio.run(uvicorn(name.removeprefix("uvicorn-")))
else:
    asyncio.run(globals()[name.replace("-", "_")]())
