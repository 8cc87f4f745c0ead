"""An echo by Tornado, which compresses with context takeover whatever a client asks for."""
from tornado import httpserver, ioloop, netutil, version, web, websocket


class Echo(websocket.WebSocketHandler):
    def get_compression_options(self):
        return {}

    async def on_message(self, message):
        await self.write_message(message, isinstance(message, bytes))


sockets = netutil.bind_sockets(0, "127.0.0.1")
server = httpserver.HTTPServer(web.Application([("/.*", Echo)]))
server.add_sockets(sockets)
print(f"Tornado {version}")
print(f"listening on 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
ioloop.IOLoop.current().start()
