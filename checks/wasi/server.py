# An echo server that keeps quiet about the text `be silent`. Prints its port.
import asyncio
from websockets.asyncio.server import serve


async def echo(ws):
    async for message in ws:
        if message != "be silent":
            await ws.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=16 << 20) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
