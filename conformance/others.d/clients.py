"""Echo clients of Python packages, with default settings: `clients.py NAME URL`.

Sends back what comes until the connection ends.
"""

import asyncio
import sys

name, url = sys.argv[1:]


async def websockets():
    from websockets.asyncio.client import connect

    async with connect(url) as connection:
        async for message in connection:
            await connection.send(message)


def websockets_sync():
    from websockets.sync.client import connect

    with connect(url) as connection:
        for message in connection:
            connection.send(message)


async def picows():
    from picows.websockets.asyncio.client import connect

    async with connect(url) as connection:
        async for message in connection:
            await connection.send(message)


async def aiohttp():
    from aiohttp import ClientSession, WSMsgType

    async with ClientSession() as session, session.ws_connect(url) as connection:
        async for message in connection:
            if message.type == WSMsgType.TEXT:
                await connection.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await connection.send_bytes(message.data)


async def tornado():
    from tornado.websocket import websocket_connect

    connection = await websocket_connect(url)
    while (message := await connection.read_message()) is not None:
        await connection.write_message(message, binary=isinstance(message, bytes))


def websocket_client():
    from websocket import ABNF, create_connection

    connection = create_connection(url)
    while True:
        opcode, data = connection.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            connection.close()
            return
        connection.send(data, opcode)


def trio_websocket():
    import trio
    from trio_websocket import open_websocket_url

    async def main():
        async with open_websocket_url(url) as connection:
            while True:
                await connection.send_message(await connection.get_message())

    trio.run(main)


def lomond():
    from lomond import WebSocket

    connection = WebSocket(url)
    for event in connection:
        if event.name == "text":
            connection.send_text(event.text)
        elif event.name == "binary":
            connection.send_binary(event.data)
        elif event.name in ("connect_fail", "disconnected"):
            return


run = globals()[name.replace("-", "_")]
if asyncio.iscoroutinefunction(run):
    asyncio.run(run())
else:
    run()
