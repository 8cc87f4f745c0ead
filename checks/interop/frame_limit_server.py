"""Python's websockets as an echo server with the limits of AWS API Gateway: 32 KiB a frame, 128 KiB a
message."""
import asyncio

from websockets.asyncio.server import serve


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def main():
    server = await serve(echo, "127.0.0.1", 0, max_size=(128 << 10, 32 << 10), compression=None)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
