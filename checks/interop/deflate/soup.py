"""An echo by libsoup, which compresses as the client asks."""
import gi

gi.require_version("Soup", "3.0")
from gi.repository import GLib, Soup

connections = set()


def opened(server, message, path, ws):
    connections.add(ws)
    ws.set_max_incoming_payload_size(16 << 20)
    ws.connect("message", lambda ws, kind, data: ws.send_message(kind, data))
    ws.connect("closed", connections.discard)


server = Soup.Server()
server.add_websocket_handler(None, None, None, opened)
server.listen_local(0, Soup.ServerListenOptions.IPV4_ONLY)
print(f"libsoup {Soup.get_major_version()}.{Soup.get_minor_version()}.{Soup.get_micro_version()}")
print(f"listening on 127.0.0.1:{server.get_uris()[0].get_port()}", flush=True)
GLib.MainLoop().run()
