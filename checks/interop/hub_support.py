"""What hub.py needs: processes and their lines, a broker that counts reads, servers, subscribers, checks."""
import http.server
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(HERE, "../../examples/fan_out_bus/clients")
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Process:
    """A program, and the lines that it printed."""

    def __init__(self, *command):
        self.lines = []
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=lambda: self.lines.extend(map(str.rstrip, self.child.stdout)), daemon=True).start()

    def prints(self, pattern):
        return within(lambda: next((m for line in list(self.lines) if (m := re.search(pattern, line))), None))

    def say(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def cpu(self):
        """In seconds, so far."""
        with open(f"/proc/{self.child.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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
for (;;) await hub.publish(...(await (await fetch("/say")).text()).split(/ (.*)/s, 2));
</script>"""


class Page(Process):
    """The client for browsers in Chromium, as if it were a program."""

    def __init__(self, urls, channel):
        page, self.said = self, queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/hub.mjs":
                    with open(os.path.join(CLIENTS, "hub.mjs")) as client:
                        self.answer(client.read(), "text/javascript")
                else:
                    self.answer(page.said.get() if self.path == "/say" else PAGE, "text/html")

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

    def say(self, line):
        self.said.put(line)

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


class Plain:
    """Redis, or NATS without a log. Keeps its port when it is killed."""

    def __init__(self, kind):
        self.kind, self.port, self.monitor = kind, free_port(), free_port()
        self.url = f"{kind}://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        if self.kind == "redis":
            program = os.environ.get("REDIS_SERVER", "redis-server")
            options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", str(self.port)]
        else:
            program = os.environ.get("NATS_SERVER", "nats-server")
            options = ["-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor), "-l", os.devnull]
        self.process = Process(program, *options)
        return within(lambda: self.subscribed("a") is not None)

    def redis(self, command):
        """What Redis answers, line by line; nothing if it is not there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
                connection.sendall(f"{command}\r\nQUIT\r\n".encode())
                return connection.makefile().read().splitlines()[:-1]
        except OSError:
            return []

    def connections(self):
        """How many there are to Redis, but for the one that asks."""
        return sum(line.startswith("id=") for line in self.redis("CLIENT LIST")) - 1

    def subjects(self, subject):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/subsz?subs=1&limit=10000") as answer:
                return answer.read().decode().count(f'"subject": "{subject}"')
        except OSError:
            return None

    def subscribed(self, channel):
        """How many processes have subscribed to a channel; `None` if the broker is not there."""
        if self.kind != "redis":
            return self.subjects(f"feed.{channel}")
        answer = self.redis(f"PUBSUB NUMSUB feed:{channel}")
        return int(answer[-1][1:]) if answer else None

    def publish(self, name, message):
        """Publishes by a channel's name at the broker, and says how many processes get it."""
        if self.kind == "redis":
            return int(self.redis(f'PUBLISH {name} "{message}"')[-1][1:])
        subject = name.replace(":", ".")
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            said = f'CONNECT {{"verbose":false}}\r\nPUB {subject} {len(message)}\r\n{message}\r\nPING\r\n'
            connection.sendall(said.encode())
            next(line for line in connection.makefile() if line.startswith("PONG"))
        return self.subjects(subject)


class Client:
    """A connection, and all that it was told."""

    def __init__(self, hub):
        from websockets.sync.client import connect

        self.ws, self.seen = connect(hub.url, max_size=None), []

    def told(self, so):
        """Reads until this is so, and returns that; `None`: it never came."""
        from websockets.exceptions import ConnectionClosed

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
        """FROM, SEQ and PAYLOAD of each so far."""
        fields = (line.split(" ", 5) for line in self.seen if line.startswith(f"message {channel} "))
        return [(line[2], int(line[3]), line[5]) for line in fields]

    def reads(self, channel, count):
        have = len(self.messages(channel))
        while have < count and self.begins(f"message {channel} "):
            have += 1
        return have == count

    def publishes(self, channel, count):
        """Numbered messages, no more than 100 under way; whether the broker has all."""
        for first in range(0, count, 100):
            for n in range(first, first + 100):
                self.ws.send(f"pub {channel} {n}")
            if not all(self.begins(f"published {channel} ") for _ in range(100)):
                return False
        return True


class Hub:
    """A server, on a port of its own."""

    def __init__(self, program, broker, *options):
        most = ["--max-connections", "20000", "--max-per-address", "20000"]
        options = ["--bus", broker.url, "--listen", "127.0.0.1:0", *most, *options]
        self.process = Process(program, *options)
        self.url = self.process.prints(r"^listening on (ws://\S+)").group(1)


def publish(program, url, count, rate, size=64, channel=CHANNEL):
    options = ["--count", str(count), "--rate", str(rate), "--size", str(size)]
    return Process(program, "publish", channel, "--bus", url, *options)


class Subscriber:
    """One that reads when it is told to, and comes back to where it is told to."""

    def __init__(self, hub, channel, place=""):
        self.channel, self.place, self.rises = channel, place, True
        self.payloads, self.gaps, self.stale = [], 0, 0
        self.back(hub)

    def back(self, hub):
        from websockets.sync.client import connect

        self.ws = connect(hub.url, max_size=None, subprotocols=["tickwire-hub-1"])
        self.ws.send(f"sub {self.channel} {self.place}".rstrip())

    def reads(self):
        """What it is told next; `None`: the connection is over."""
        from websockets.exceptions import ConnectionClosed

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
            self.payloads.append(words[6].lstrip("0"))
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


def forgetful(port):
    """A way to the broker: of the first connection's answers some kilobytes pass, then it is cut."""
    relay = socket.create_server(("127.0.0.1", 0))

    def pass_on(source, sink, most):
        try:
            while most > 0 and (data := source.recv(min(most, 4096))):
                sink.sendall(data)
                most -= len(data)
            time.sleep(0.2)  # the broker takes what is under way
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def accept():
        for most in (8192, *[1 << 60] * 100):
            publisher, broker = relay.accept()[0], socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=pass_on, args=[publisher, broker, 1 << 60], daemon=True).start()
            threading.Thread(target=pass_on, args=[broker, publisher, most], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return relay.getsockname()[1]
