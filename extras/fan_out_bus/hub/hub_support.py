"""What hub.py needs: processes and their lines, a broker that counts reads, publishers, servers, subscribers, checks."""
import asyncio
import http.server
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(HERE, "../clients")
PATIENCE = 60  # s: longer is a hang
CHANNEL = "ch"
failed = []


def check(what, holds):
    if not holds:
        failed.append(what)
    print("ok  " if holds else "FAIL", what, flush=True)


def within(so):
    until = time.monotonic() + PATIENCE
    while not (holds := so()) and time.monotonic() < until:
        time.sleep(0.02)
    return holds


def free_port():
    return int(subprocess.check_output([os.path.join(HERE, "../../../checks/free_port")]))


class Process:
    """A program, and the lines that it printed."""

    def __init__(self, *command):
        self.lines = []
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=lambda: self.lines.extend(map(str.rstrip, self.child.stdout)), daemon=True).start()

    def prints(self, pattern):
        return within(lambda: next((m for line in list(self.lines) if (m := re.search(pattern, line))), None))

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def resident(self):
        """In KiB."""
        with open(f"/proc/{self.child.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


PAGE = """<!doctype html><script type="module">
import { Hub } from "/hub.mjs";
let printed = Promise.resolve(); // in order
const print = (line) => printed = printed.then(() => fetch("/print", { method: "POST", body: line }));
const [urls, ...channels] = decodeURIComponent(location.hash.slice(1)).split(" ");
const hub = new Hub(urls.split(","), (word, channel, payload) =>
  print(word === "message" ? `${channel} ${payload}` : `# ${word} ${channel} ${payload}`), 1000);
channels.forEach((channel) => hub.subscribe(channel));
</script>"""


class Page(Process):
    """The client for browsers in Chromium, as if it were a program."""

    def __init__(self, urls, channel):
        page = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/hub.mjs":
                    with open(os.path.join(CLIENTS, "hub.mjs")) as client:
                        self.answer(client.read(), "text/javascript")
                else:
                    self.answer(PAGE, "text/html")

            def do_POST(self):
                page.lines.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.answer("", "text/plain")

            def answer(self, text, kind):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.profile = tempfile.mkdtemp()
        super().__init__(
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={self.profile}",
            "--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/#{urls}%20{channel}",
        )

    def kill(self):
        self.child.terminate()  # it ends its own processes
        self.child.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


class Broker:
    """Keeps its port and its store when it is killed, and says what it is asked for."""

    def __init__(self):
        self.port, self.monitor, self.store = free_port(), free_port(), tempfile.mkdtemp()
        self.url = f"jetstream://127.0.0.1:{self.port}"
        self.asked = []  # subjects of requests about consumers
        self.start()

    def start(self):
        program = os.environ.get("NATS_SERVER", "nats-server")
        self.process = Process(program, "-js", "-sd", self.store, "-a", "127.0.0.1", "-p", str(self.port),
                               "-m", str(self.monitor), "-l", os.devnull)
        self.listener = within(self.connect)
        threading.Thread(target=self.listen, args=[self.listener], daemon=True).start()

    def connect(self):
        try:
            connection = socket.create_connection(("127.0.0.1", self.port), 1)
            connection.settimeout(None)
            broker = connection.makefile("rwb")
        except OSError:
            return None
        broker.write(b'CONNECT {"verbose":false}\r\nSUB $JS.API.CONSUMER.> 1\r\nPING\r\n')
        broker.flush()
        return broker if within(lambda: broker.readline().startswith(b"PONG")) else None

    def listen(self, broker):
        try:
            while line := broker.readline():
                if line.startswith(b"MSG "):
                    self.asked.append(line.split()[1].decode())
                    broker.read(int(line.split()[-1]))
                elif line.startswith(b"PING"):
                    broker.write(b"PONG\r\n")
                    broker.flush()
        except OSError:
            pass  # it was killed

    def make(self, stream, most):
        """Makes a stream that keeps so many bytes."""
        config = f'{{"name":"{stream}","subjects":["{stream}.*"],"max_bytes":{most},"storage":"file"}}'
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            broker = connection.makefile("rwb")
            broker.write(f'CONNECT {{"verbose":false}}\r\nSUB made 1\r\nPUB $JS.API.STREAM.CREATE.{stream} made '
                         f"{len(config)}\r\n{config}\r\n".encode())
            broker.flush()
            while not broker.readline().startswith(b"MSG made "):
                pass

    def connections(self):
        """How many there are, but for the one that counts reads."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/connz") as answer:
            return int(re.search(rb'"num_connections": (\d+)', answer.read()).group(1)) - 1

    def reads(self):
        """How many subscriptions began and how many pages were read, since this was last asked. A page is read by a
        consumer of its own."""
        asked, self.asked = self.asked, []
        pages = sum(".MSG.NEXT." in subject for subject in asked)
        return sum(".CREATE." in subject for subject in asked) - pages, pages


class Redis:
    """Keeps its port when it is killed."""

    def __init__(self):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        program = os.environ.get("REDIS_SERVER", "redis-server")
        self.process = Process(program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", str(self.port))
        return within(lambda: self.subscribed("a") is not None)

    def ask(self, *commands):
        """What Redis answers, line by line; nothing if it is not there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
                connection.sendall("".join(f"{command}\r\n" for command in (*commands, "QUIT")).encode())
                return connection.makefile().read().splitlines()[:-1]
        except OSError:
            return []

    def connections(self):
        """How many there are, but for the one that asks."""
        return sum(line.startswith("id=") for line in self.ask("CLIENT LIST")) - 1

    def subscribed(self, channel):
        """How many processes have subscribed to a channel; `None` if the broker is not there."""
        answer = self.ask(f"PUBSUB NUMSUB feed:{channel}")
        return int(answer[-1][1:]) if answer else None

    def publish(self, name, *payloads):
        """Publishes by a channel's name at the broker, and says how many processes get each."""
        return [int(line[1:]) for line in self.ask(*(f'PUBLISH {name} "{payload}"' for payload in payloads))]


class Publisher(threading.Thread):
    """Publishes numbers to JetStream, and repeats, under the same `Nats-Msg-Id`, what was not confirmed."""

    def __init__(self, broker, numbers, rate, size=0, channel=CHANNEL, prefix="feed"):
        super().__init__(daemon=True)
        self.broker, self.numbers, self.rate, self.size = broker, list(numbers), rate, size
        self.subject, self.name, self.whole = f"{prefix}.{channel}", os.urandom(8).hex(), False
        self.start()

    def run(self):
        began, at, until = time.monotonic(), 0, time.monotonic() + PATIENCE
        while at < len(self.numbers) and time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", self.broker.port), 1) as connection:
                    connection.settimeout(10)
                    broker = connection.makefile("rwb")
                    broker.write(b'CONNECT {"verbose":false,"headers":true}\r\nSUB acks 1\r\n')
                    while at < len(self.numbers):
                        time.sleep(max(0, began + at / self.rate - time.monotonic()))
                        due = int((time.monotonic() - began) * self.rate) + 1
                        batch = self.numbers[at:min(due, at + 256)]
                        for n, number in enumerate(batch):
                            head = f"NATS/1.0\r\nNats-Msg-Id: {self.name} {at + n}\r\n\r\n"
                            said = f"{head}{number:0{self.size}}"
                            broker.write(f"HPUB {self.subject} acks {len(head)} {len(said)}\r\n{said}\r\n".encode())
                        broker.flush()
                        for _ in batch:
                            self.confirmed(broker)
                        at += len(batch)
                        until = time.monotonic() + PATIENCE
            except OSError:
                time.sleep(0.05)
        self.whole = at == len(self.numbers)

    @staticmethod
    def confirmed(broker):
        while line := broker.readline():
            if line.startswith(b"PING"):
                broker.write(b"PONG\r\n")
                broker.flush()
            if b"MSG acks " in line:
                if b'"seq"' in broker.read(int(line.split()[-1])):
                    return
                raise OSError("not confirmed")
        raise OSError("the connection is over")

    def ends(self):
        """Whether the broker has all."""
        self.join()
        return self.whole


class Client:
    """A connection, and all that it was told."""

    def __init__(self, hub):
        self.ws, self.seen = connect(hub.url, max_size=None), []

    def told(self, so):
        """Reads until this is so, and returns that; `None`: it never came."""
        try:
            while True:
                told = self.ws.recv(PATIENCE)
                self.seen.append(told if isinstance(told, str) else told.decode(errors="replace"))
                if so(self.seen[-1]):
                    return told
        except (ConnectionClosed, TimeoutError):
            return None

    def is_told(self, text):
        return self.told(lambda told: told == text) is not None

    def begins(self, start):
        return self.told(lambda told: told.startswith(start))

    def knows(self, text):
        return text in self.seen or self.is_told(text)

    def ask(self, said, answer):
        self.ws.send(said)
        return self.is_told(answer)

    def messages(self, channel):
        """The payload of each so far."""
        return [line.split(" ", 2)[2] for line in self.seen if line.startswith(f"message {channel} ")]

    def reads(self, channel, count):
        have = len(self.messages(channel))
        while have < count and self.begins(f"message {channel} "):
            have += 1
        return have == count


class Hub:
    """A server, on a port of its own."""

    def __init__(self, program, broker, *options):
        most = ["--max-connections", "20000", "--max-per-address", "20000"]
        options = ["--bus", broker.url, "--listen", "127.0.0.1:0", *most, *options]
        self.process = Process(program, *options)
        self.url = self.process.prints(r"^listening on (ws://\S+)").group(1)


class Subscriber:
    """One that reads when it is told to, and comes back to where it is told to."""

    def __init__(self, hub, channel, place=""):
        self.channel, self.place, self.rises = channel, place, True
        self.payloads, self.gaps, self.stale = [], 0, 0
        self.back(hub)

    def back(self, hub):
        self.ws = connect(hub.url, max_size=None, subprotocols=["tickwire-hub-2"])
        self.ws.send(f"sub {self.channel} {self.place}".rstrip())

    def reads(self):
        """What it is told next; `None`: the connection is over."""
        try:
            told = self.ws.recv(PATIENCE)
        except ConnectionClosed:
            return None
        words = told.split(" ")
        if words[0] == "subscribed":
            self.place = " ".join(words[2:])
        elif words[0] == "entry":
            log, at = self.place.split(" ")
            self.rises &= int(words[2]) > int(at)
            self.place = f"{log} {words[2]}"
            self.payloads.append(words[3].lstrip("0"))
        self.gaps += words[0] == "gap"
        self.stale += words[0] == "stale"
        return told

    def has(self, count):
        while len(self.payloads) < count and self.reads():
            pass
        return len(self.payloads) == count

    def ask(self, said):
        self.ws.send(said)
        return self.reads()

    def has_all(self, numbers, gaps=0):
        """These in their order, each once, and nothing more comes."""
        whole = self.has(len(numbers)) and self.payloads == [str(n) for n in numbers] and self.rises and self.gaps == gaps
        return whole and self.ask(f"unsub {self.channel}") == f"unsubscribed {self.channel}"


class Crowd(threading.Thread):
    """Many subscribers, by the client for Python, and what all of them saw. They come back by themselves."""

    def __init__(self, urls, subscribers):
        super().__init__(daemon=True)
        spec = importlib.util.spec_from_file_location("client", os.path.join(CLIENTS, "hub.py"))
        spec.loader.exec_module(client := importlib.util.module_from_spec(spec))
        self.clients = [client.Hub(list(urls), [CHANNEL]) for _ in range(subscribers)]
        self.last, self.at = [0] * subscribers, [None] * subscribers
        self.disordered, self.stale, self.gaps = 0, 0, 0
        self.start()

    def run(self):
        async def follow():
            await asyncio.gather(*(self.one(i, client) for i, client in enumerate(self.clients)))

        asyncio.run(follow())

    async def one(self, i, client):
        async for word, _, payload in client:
            if word == "message":
                self.disordered += int(payload) != self.last[i] + 1
                self.last[i] = int(payload)
            if word == "subscribed":
                self.at[i] = client.urls[0]
            self.stale += word == "stale"
            self.gaps += word == "gap"

    def there(self, server):
        """How many are subscribed at a server, and have no other connection."""
        return sum(at == server.url == client.urls[0] for at, client in zip(self.at, self.clients))

    def whole(self, count):
        """How many have all, if none had one twice or out of order."""
        return 0 if self.disordered else sum(last == count for last in self.last)
