"""An echo by uWebSockets (socketify), with the compressor that the argument names."""
import sys
from importlib.metadata import version

from socketify import App, CompressOptions

app = App()
app.ws("/*", {
    "compression": getattr(CompressOptions, sys.argv[1]),
    "max_payload_length": 16 << 20,
    "message": lambda ws, message, opcode: ws.send(message, opcode, True),
})
print("uWebSockets, socketify", version("socketify"))
app.listen(
    {"host": "127.0.0.1", "port": 0},
    lambda at: print(f"listening on 127.0.0.1:{at.port}", flush=True),
)
app.run()
