// A connection, whose messages are waited for.
function open(WebSocket, url, protocols, ...options) {
  const ws = new WebSocket(url, protocols || [], ...options);
  ws.binaryType = "arraybuffer";
  const inbox = [];
  let wake = () => {};
  ws.onmessage = (event) => (inbox.push(event.data), wake());
  ws.opened = new Promise((resolve) => {
    ws.onopen = () => resolve(true);
    ws.onerror = () => resolve(false);
  });
  ws.closed = new Promise((resolve) => {
    ws.onclose = (event) => {
      ws.ended = event;
      resolve({ code: event.code, reason: event.reason, clean: event.wasClean });
      wake();
    };
  });
  ws.next = async () => {
    while (inbox.length === 0) {
      if (ws.ended) throw new Error("closed with " + ws.ended.code + " while a message was due");
      await new Promise((resolve) => (wake = resolve));
    }
    return inbox.shift();
  };
  return ws;
}

async function connect(WebSocket, url, protocols, ...options) {
  const ws = open(WebSocket, url, protocols, ...options);
  if (!(await ws.opened)) throw new Error("no connection to " + url);
  return ws;
}

function same(what, got, expected) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a !== b) throw new Error(what + ": " + a.slice(0, 100) + " instead of " + b.slice(0, 100));
}

// A text and binary data of each size come back.
async function echo(ws, sizes) {
  for (const size of sizes) {
    // Of characters of two bytes, and one of one for an odd size.
    const text = "é".repeat(size >> 1) + (size & 1 ? "e" : "");
    ws.send(text);
    if ((await ws.next()) !== text) throw new Error("a text of " + size + " bytes comes back changed");
    const bytes = Uint8Array.from({ length: size }, (_, i) => i % 251);
    ws.send(bytes);
    const back = new Uint8Array(await ws.next());
    if (back.length !== size || back.some((byte, i) => byte !== i % 251)) {
      throw new Error("binary of " + size + " bytes comes back changed");
    }
  }
}

// Runs each of these, and reports how it went.
async function each(checks, who, report) {
  for (const [name, check] of Object.entries(checks)) {
    const began = Date.now();
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it hangs")), 120000));
    try {
      await Promise.race([check(), late]);
      await report("ok   " + who + ": " + name + " (" + (Date.now() - began) + " ms)");
    } catch (error) {
      await report("FAIL " + who + ": " + name + ": " + error.message);
    }
  }
  await report("done");
}

// The conversation that `tls server` of our peer wants, at each of these URLs. `opened` may do
// something to a connection.
async function converse(WebSocket, urls, who, report, opened = () => {}) {
  const checks = {};
  for (const url of urls) {
    checks[url] = async () => {
      const ws = await connect(WebSocket, url);
      opened(ws);
      await echo(ws, [0, 1, 2, 125, 126, 1000, 16384, 65536, 1 << 20]);
      for (let i = 0; i < 100; i++) ws.send("message " + i);
      for (let i = 0; i < 100; i++) same("a message", await ws.next(), "message " + i);
      ws.close(3001, "fertig für heute");
      same("the end", await ws.closed, { code: 3001, reason: "", clean: true });
    };
  }
  await each(checks, who, report);
}

// Checks of our server by a client with the WebSocket API of browsers: a browser itself, see
// page.html, or the npm package ws, see ws_client.js. `server` is its URL, `doomed` that of one
// that may be killed, or null; `report` takes a line for each check, and what comes of it is waited
// for.
async function runChecks(WebSocket, server, doomed, who, report) {
  const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20];

  const to = (path, protocols) => open(WebSocket, server + path, protocols);
  const connectTo = (path, protocols) => connect(WebSocket, server + path, protocols);

  async function part(ws) {
    ws.close(1000);
    same("the end", await ws.closed, { code: 1000, reason: "", clean: true });
  }

  const checks = {
    async "text and binary of 0 bytes to 1 MiB"() {
      const ws = await connectTo("/echo");
      await echo(ws, SIZES);
      await part(ws);
    },
    async "1,000 messages in order, there and back"() {
      const ws = await connectTo("/echo");
      for (let i = 0; i < 1000; i++) ws.send(String(i));
      for (let i = 0; i < 1000; i++) same("a message", await ws.next(), String(i));
      await part(ws);
    },
    async "1,000 messages in order from the server, and its Close"() {
      const ws = await connectTo("/count");
      for (let i = 0; i < 1000; i++) same("a message", await ws.next(), String(i));
      same("the end", await ws.closed, { code: 1000, reason: "", clean: true });
    },
    async "our Close, its code and reason"() {
      for (const [code, reason] of [[1000, ""], [3001, "fertig für heute"], [4999, "x".repeat(123)]]) {
        const ws = await connectTo("/echo");
        ws.close(code, reason);
        const end = await ws.closed;
        same(String(code), [end.code, end.clean], [code, true]);
      }
      const ws = await connectTo("/echo");
      ws.close();
      const end = await ws.closed;
      same("without a code", [end.code, end.clean], [1005, true]);
    },
    async "the server's Close, its code and reason"() {
      const wishes = [[1000, ""], [1001, "going away"], [1011, "it broke"], [3001, "für heute"], [4999, ""]];
      for (const [code, reason] of wishes) {
        const ws = await connectTo("/close");
        ws.send(code + " " + reason);
        same(String(code), await ws.closed, { code, reason, clean: true });
      }
      const ws = await connectTo("/close");
      ws.send("none");
      same("without a code", await ws.closed, { code: 1005, reason: "", clean: true });
    },
    async "a subprotocol is chosen"() {
      const ws = await connectTo("/subprotocol", ["v9", "v1"]);
      same("the subprotocol", ws.protocol, "v1");
      await part(ws);
      const both = await connectTo("/subprotocol", ["v1", "v2"]);
      same("the subprotocol the server likes best", both.protocol, "v2");
      await part(both);
    },
    // The server agrees to none and lets the client decide, which a browser does by failing.
    async "no subprotocol in common"() {
      const ws = to("/subprotocol", ["v9"]);
      await ws.opened;
      const end = await ws.closed;
      same("the end", [end.code, end.clean], [1006, false]);
    },
    async "a refused handshake"() {
      const ws = to("/refuse");
      same("whether it opens", await ws.opened, false);
      const end = await ws.closed;
      same("the end", end, { code: 1006, reason: "", clean: false });
    },
    async "both ends ping an idle connection"() {
      const ws = await connectTo("/idle");
      same("its sign of life", await ws.next(), "alive");
      await part(ws);
    },
    async "bufferedAmount grows while nothing is read, and drains"() {
      const ws = await connectTo("/stall");
      const mebi = new Uint8Array(1 << 20);
      for (let i = 0; i < 12; i++) ws.send(mebi);
      const before = ws.bufferedAmount;
      if (before < 1 << 20) throw new Error("only " + before + " bytes are buffered");
      for (let i = 0; i < 12; i++) same("what arrived", await ws.next(), "got 1048576");
      same("bufferedAmount after it", ws.bufferedAmount, 0);
      await part(ws);
    },
  };
  if (doomed) {
    checks["the server is killed in mid-message"] = async () => {
      const ws = new WebSocket(doomed + "/die");
      let opened = false;
      ws.onopen = () => (opened = true);
      const end = await new Promise((resolve) => (ws.onclose = resolve));
      same("the end", [opened, end.code, end.wasClean], [true, 1006, false]);
    };
  }

  await each(checks, who, report);
}

// Sends for as long as it takes somebody to kill us.
async function stall(WebSocket, server, report) {
  const ws = new WebSocket(server + "/stall");
  ws.onopen = () => {
    ws.send(new Uint8Array(15 << 20));
    report("mid-message");
  };
  await new Promise(() => {});
}

if (typeof module !== "undefined") module.exports = { connect, same, each, runChecks, converse, stall };
