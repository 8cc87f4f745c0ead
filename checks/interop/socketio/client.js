// The official socket.io-client, of version 2 or 4, against the example server:
//   node client.js SERVER MODULE WAY     SERVER is the program, MODULE the client's name in npm's folder;
//                                        WAY is websocket, polling, or upgrade: what a client does unasked
"use strict";
const { spawn } = require("child_process");
const assert = require("assert").strict;
const http = require("http");

const [program, name, way] = process.argv.slice(2);
const io = require(name);
const version = require(name + "/package.json").version;
const [major, minor] = version.split(".").map(Number);
const old = major === 2;

const servers = [];
const sockets = [];

// --- the server

// Starts it, and resolves with it and its address.
function start(...options) {
  const server = spawn(program, options, { stdio: ["ignore", "pipe", "ignore"] });
  servers.push(server);
  return new Promise((resolve, reject) => {
    let output = "";
    server.stdout.on("data", (data) => {
      output += data;
      const found = output.match(/^listening on (\S+)\n/);
      if (found) resolve({ server, address: found[1], url: "http://" + found[1] });
    });
    server.on("exit", () => reject(new Error("the server ended: " + output)));
  });
}

function end(server, signal) {
  return new Promise((resolve) => {
    server.on("exit", resolve);
    server.kill("SIGCONT");
    server.kill(signal);
  });
}

process.on("exit", () => servers.forEach((server) => server.kill("SIGKILL")));

// --- what the checks are made of

function open(url, options) {
  const transports = way === "upgrade" ? {} : { transports: [way] };
  const socket = io(url, { ...transports, forceNew: true, reconnection: false, ...options });
  sockets.push(socket);
  return socket;
}

function next(emitter, event, ms = 10000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no " + event + " in " + ms + " ms")), ms);
    emitter.once(event, (...args) => (clearTimeout(timer), resolve(args)));
  });
}

// Connected, and where it goes over to a WebSocket, that it has.
async function connect(url, options) {
  const socket = open(url, options);
  await next(socket, "connect");
  if (way === "upgrade" && socket.io.engine.transport.name === "polling") await next(socket.io.engine, "upgrade");
  return socket;
}

// What a namespace wants to know, where a version puts it.
const shows = (token) => (old ? { query: { token } } : { auth: { token } });

// How a namespace says no.
async function refused(socket) {
  const [error] = await next(socket, old ? "error" : "connect_error");
  return old ? error : error.message;
}

// A heartbeat: the server pings, or answers the client's.
async function beat(engine) {
  if (old) await next(engine, "pong");
  else while ((await next(engine, "packet"))[0].type !== "ping");
}

// Resolves with the arguments of the acknowledgement.
function call(socket, ...args) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no acknowledgement of " + args[0])), 10000);
    socket.emit(...args, (...answer) => (clearTimeout(timer), resolve(answer)));
  });
}

// Collects an event; what came so far is a value of its own each.
function collect(socket, event) {
  const got = [];
  socket.on(event, (...args) => got.push(args));
  return got;
}

const ok = [{ status: "ok" }];

// --- the checks; each gets the server's URL

const checks = {
  async "connects, and gets an id for each namespace"({ url }) {
    const socket = await connect(url);
    assert.match(socket.id, /^[\w-]{20}$/);
    assert.equal(socket.io.engine.transport.name, way === "polling" ? "polling" : "websocket");
    assert.equal(socket.id === socket.io.engine.id, old);
    const admin = socket.io.socket("/admin", shows("secret"));
    await next(admin, "connect");
    assert.notEqual(admin.id, socket.id);
  },

  async "values come back as they went"({ url }) {
    const socket = await connect(url);
    const values = [
      [], [null], [true, false], [0, -1, 1.5, 1e21, 1e-7, 0.1 + 0.2, Number.MAX_SAFE_INTEGER, 5e-324],
      ["", "é\u2028\u0000 \ud83d\ude00 \"\\", "\ud800 alone"], [{}], [[]],
      [{ z: 1, a: [{ b: { c: [1, [2, [3]]] } }], "": null, "é": 1 }],
      [{ _placeholder: true, num: 7 }], // is no placeholder where nothing is binary
      ["x".repeat(200000)],
    ];
    for (const args of values) assert.deepEqual(await call(socket, "echo", ...args), args);
    // Even the order of keys.
    assert.equal(JSON.stringify(await call(socket, "echo", { z: 1, a: 2 })), '[{"z":1,"a":2}]');
  },

  async "binary comes back: Buffer, typed array, ArrayBuffer, nested"({ url }) {
    const socket = await connect(url);
    const bytes = Buffer.from([0, 1, 2, 255]);
    const two = new Uint8Array([3, 4]);
    const typed = old ? Buffer.from(two) : two; // a typed array is an object to version 2
    for (const [sent, back] of [
      [bytes, bytes],
      [typed, Buffer.from(typed)],
      [two.buffer, Buffer.from(two)],
      [old ? bytes : new DataView(two.buffer), old ? bytes : Buffer.from(two)],
      [Buffer.alloc(0), Buffer.alloc(0)],
    ]) assert.deepEqual(await call(socket, "echo", sent), [back]);
    const nested = { name: "f", parts: [bytes, { deep: [[typed]] }], none: null };
    const wanted = { name: "f", parts: [bytes, { deep: [[Buffer.from(typed)]] }], none: null };
    assert.deepEqual(await call(socket, "echo", 1, nested, "x"), [1, wanted, "x"]);
    const ten = Array.from({ length: 10 }, (_, i) => Buffer.from([i]));
    assert.deepEqual(await call(socket, "echo", ten), [ten]);
    const most = way === "polling" ? 700000 : 900000; // in base64 a third more
    for (const size of [125, 126, 65535, 65536, most]) {
      const big = Buffer.alloc(size, size % 251);
      assert.deepEqual(await call(socket, "echo", big), [big]);
    }
  },

  async "events come back without an acknowledgement too, volatile ones as well"({ url }) {
    const socket = await connect(url);
    const came = next(socket, "echo");
    socket.emit("echo", 1, Buffer.from([1]));
    assert.deepEqual(await came, [1, Buffer.from([1])]);
    if (old) return;
    const again = next(socket, "echo");
    // Dropped while the one before is being written.
    const timer = setInterval(() => socket.volatile.emit("echo", "volatile"), 20);
    assert.deepEqual(await again, ["volatile"]);
    clearInterval(timer);
  },

  async "1,000 at once are acknowledged each with its own, in order"({ url }) {
    const socket = await connect(url);
    const order = [];
    await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        const args = i % 10 ? [i] : [i, Buffer.from([i % 251])];
        assert.deepEqual(await call(socket, "echo", ...args), args);
        order.push(i);
      })
    );
    assert.deepEqual(order, [...order.keys()]);
  },

  async "what is said while a WebSocket takes over comes once, and in order"({ url }) {
    if (way !== "upgrade") return;
    const other = await connect(url);
    await call(other, "join", "tea");
    for (let round = 0; round < 5; round++) {
      const socket = open(url);
      const [heard, echoed] = [collect(socket, "said"), collect(socket, "echo")];
      const connected = next(socket, "connect");
      await next(socket.io, "open");
      assert.equal(socket.io.engine.transport.name, "polling");
      let upgraded = false;
      const upgrade = next(socket.io.engine, "upgrade").then(() => (upgraded = true));
      await connected;
      await call(socket, "join", "tea");
      let sent = 0;
      for (let more = 20; more > 0; more -= upgraded) {
        socket.emit("echo", sent, Buffer.from([sent % 251]));
        other.emit("say", "tea", sent++);
        await new Promise(setImmediate);
      }
      await upgrade;
      assert.equal(socket.io.engine.transport.name, "websocket");
      await call(other, "echo");
      await call(socket, "echo");
      assert.deepEqual(heard, Array.from({ length: sent }, (_, i) => [i]));
      assert.deepEqual(echoed, Array.from({ length: sent }, (_, i) => [i, Buffer.from([i % 251])]));
    }
  },

  async "30 MB at once come back whole"({ url }) {
    if (old && way === "polling") return; // they would all be one body
    const socket = await connect(url);
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => call(socket, "echo", Buffer.alloc(500000, i)))
    );
    answers.forEach(([back], i) => assert.deepEqual(back, Buffer.alloc(500000, i)));
  },

  async "rooms: the others hear it, nobody else"({ url }) {
    const [a, b, c] = [await connect(url), await connect(url), await connect(url)];
    const [heardA, heardB, heardC] = [a, b, c].map((socket) => collect(socket, "said"));
    for (const socket of [a, b]) assert.deepEqual(await call(socket, "join", "tea"), ok);
    assert.deepEqual(await call(c, "join", "coffee"), ok);
    assert.deepEqual(await call(a, "say", "tea", "hello"), ok);
    assert.deepEqual(await call(a, "say", "tea", { is: [Buffer.from([7])] }), ok);
    assert.deepEqual(await call(c, "say", "tea", "from outside"), ok);
    // What was said before comes before what is answered later.
    for (const socket of [a, b, c]) await call(socket, "echo");
    assert.deepEqual(heardA, [["from outside"]]);
    assert.deepEqual(heardB, [["hello"], [{ is: [Buffer.from([7])] }], ["from outside"]]);
    assert.deepEqual(heardC, []);
    assert.deepEqual(await call(b, "leave", "tea"), ok);
    await call(a, "say", "tea", "anybody?");
    await call(b, "echo");
    assert.equal(heardB.length, 3);
    assert.equal((await call(b, "leave", "tea"))[0].status, "error");
    assert.equal((await call(b, "join"))[0].status, "error");
  },

  async "/admin wants its token, over the same connection"({ url }) {
    const socket = await connect(url);
    if (old) {
      assert.equal(await refused(socket.io.socket("/admin", shows("guess"))), "Not authorized");
      assert.deepEqual(await call(socket, "echo", 1), [1]);
      return;
    }
    const admin = socket.io.socket("/admin", {}); // connects at once
    for (const auth of [{}, { token: "guess" }, { token: 1 }, { token: "secret\u0000" }]) {
      const [error] = await next(admin, "connect_error");
      assert.equal(error.message, "Not authorized");
      assert.equal(admin.connected, false);
      // 4.6.0 connects twice at once: the second refusal has to come before the next try, whose
      // answer it would hide.
      await call(socket, "echo");
      admin.auth = auth;
      admin.connect();
    }
    await next(admin, "connect_error");
    admin.auth = (give) => give({ token: "secret" });
    await next(admin.connect(), "connect");
    assert.deepEqual(await call(admin, "echo", Buffer.from([1])), [Buffer.from([1])]);
    // Its rooms are its own.
    const other = await connect(url);
    const [heard, heardAdmin] = [collect(other, "said"), collect(admin, "said")];
    await call(other, "join", "tea");
    await call(admin, "join", "tea");
    await call(socket, "say", "tea", "main");
    await call(other, "echo");
    await call(admin, "echo");
    assert.deepEqual([heard, heardAdmin], [[["main"]], []]);
    // It can go and come back; the other namespace stays.
    admin.disconnect();
    assert.deepEqual(await call(socket, "echo", 1), [1]);
    await next(admin.connect(), "connect");
    assert.deepEqual(await call(admin, "echo", 2), [2]);
  },

  async "a namespace may be all that one connects to"({ url }) {
    const admin = await connect(url + "/admin", { ...shows("secret"), path: "/socket.io" });
    assert.deepEqual(await call(admin, "echo", { b: Buffer.from([1]) }), [{ b: Buffer.from([1]) }]);
    admin.on("question", (answer) => answer("yes"));
    assert.deepEqual(await call(admin, "ask", "question"), ["yes"]);
    assert.equal(await refused(open(url + "/admin", shows("guess"))), "Not authorized");
  },

  async "connecting twice at once leaves one socket that works"({ url }) {
    const socket = await connect(url);
    const admin = socket.io.socket("/admin", shows("secret"));
    admin.connect(); // once more, before the answer
    await next(admin, "connect");
    assert.deepEqual(await call(admin, "echo", 1), [1]);
    const id = admin.id;
    assert.deepEqual(await call(admin, "join", "tea"), ok);
    const heard = collect(admin, "said");
    const other = await connect(url);
    const second = other.io.socket("/admin", shows("secret"));
    await next(second, "connect");
    await call(second, "say", "tea", "hello");
    await call(admin, "echo", 1);
    assert.deepEqual(heard, [["hello"]]);
    assert.equal(admin.id, id);
  },

  async "an unknown namespace is refused, and the others stay"({ url }) {
    const socket = await connect(url);
    const unknown = socket.io.socket("/nowhere", {});
    assert.equal(await refused(unknown), "Invalid namespace");
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  async "the server's events are acknowledged, binary too"({ url }) {
    const socket = await connect(url);
    socket.on("question", (a, b, answer) => answer(b, { a }, Buffer.from([9])));
    const got = await call(socket, "ask", "question", { x: 1 }, Buffer.from([1, 2]));
    assert.deepEqual(got, [Buffer.from([1, 2]), { a: { x: 1 } }, Buffer.from([9])]);
    socket.on("nothing", (answer) => answer());
    assert.deepEqual(await call(socket, "ask", "nothing"), []);
    const all = Array.from({ length: 50 }, (_, i) => call(socket, "ask", "question", i, "b"));
    (await Promise.all(all)).forEach(([, { a }], i) => assert.equal(a, i));
  },

  async "an event that nobody handles is not acknowledged"({ url }) {
    const socket = await connect(url);
    let answered = false;
    socket.emit("nobody", 1, () => (answered = true));
    assert.deepEqual(await call(socket, "echo", 1), [1]);
    assert.equal(answered, false);
    if (old || minor < 4) return;
    const [error] = await new Promise((resolve) => {
      socket.timeout(200).emit("nobody", 1, (...args) => resolve(args));
    });
    assert(error instanceof Error);
    if (minor < 6) return;
    assert.deepEqual(await socket.timeout(5000).emitWithAck("echo", { a: 1 }), { a: 1 });
    const retries = await connect(url, { retries: 2, ackTimeout: 5000 });
    assert.deepEqual(await retries.emitWithAck("echo", "queued"), "queued");
  },

  async "what is emitted before it is connected arrives"({ url }) {
    const socket = open(url);
    assert.deepEqual(await call(socket, "echo", "early"), ["early"]);
  },

  async "a message too long ends the connection, and it comes back"({ url }) {
    const socket = await connect(url, { reconnection: true, reconnectionDelay: 50 });
    const first = socket.id;
    socket.emit("echo", "x".repeat(1000001));
    await next(socket, "disconnect");
    await next(socket, "connect");
    assert.notEqual(socket.id, first);
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  async "what is no session is refused, with Engine.IO's error"({ url }) {
    const socket = open(url, { transports: ["polling"], query: { sid: "guess" } });
    await next(socket, "connect_error");
    for (const [query, code] of [
      ["?EIO=4&transport=webtransport", 0], ["?EIO=4", 0], ["", 0], ["?EIO=4&transport=polling&sid=x", 1],
      ["?EIO=4&transport=websocket&sid=x", 1], ["?EIO=4&transport=websocket", 3], ["?EIO=5&transport=polling", 5],
    ]) {
      const [response] = await next(http.get(url + "/socket.io/" + query), "response");
      let body = "";
      for await (const data of response) body += data;
      assert.deepEqual([response.statusCode, JSON.parse(body).code], [400, code], query);
      assert.equal(response.headers["content-type"], "application/json");
    }
  },

  async "the heartbeat keeps a silent connection"() {
    const { url } = await start("--listen", "127.0.0.1:0", "--ping-interval", "100", "--ping-timeout", "2000");
    const socket = await connect(url);
    for (let beats = 0; beats < 10; beats++) await beat(socket.io.engine);
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  async "a server that no longer answers is noticed"() {
    const { server, url } = await start("--listen", "127.0.0.1:0", "--ping-interval", "200", "--ping-timeout", "300");
    const socket = await connect(url);
    await beat(socket.io.engine);
    server.kill("SIGSTOP");
    assert.deepEqual((await next(socket, "disconnect"))[0], "ping timeout");
    await end(server, "SIGKILL");
  },

  async "a server that dies is noticed, and one that is back is found"() {
    const { server, address, url } = await start("--listen", "127.0.0.1:0");
    const socket = await connect(url, { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
    for (const [signal, once] of [["SIGKILL", server], ["SIGTERM", null]]) {
      const running = once || servers[servers.length - 1];
      const gone = next(socket, "disconnect");
      await end(running, signal);
      assert.match((await gone)[0], way === "polling" ? /^transport (close|error)$/ : /^transport close$/);
      const early = call(socket, "echo", "while it was away"); // sent once it is back
      await Promise.all([start("--listen", address), next(socket, "connect", 20000)]);
      assert.deepEqual(await early, ["while it was away"]);
      assert.deepEqual(await call(socket, "join", "tea"), ok);
    }
  },
};

async function main() {
  const shared = await start("--listen", "127.0.0.1:0");
  let failed = false;
  for (const [what, check] of Object.entries(checks)) {
    const label = `socket.io-client ${version}, ${way}: ${what}`;
    const began = Date.now();
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("it hangs")), 30000)));
    try {
      await Promise.race([check(shared), late]);
      console.log(`ok   ${label} (${Date.now() - began} ms)`);
    } catch (error) {
      failed = true;
      console.log(`FAIL ${label}: ${String(error.message).slice(0, 300).replace(/\n/g, " ")}`);
    }
    clearTimeout(timer);
    while (sockets.length) sockets.pop().disconnect();
  }
  process.exit(failed ? 1 : 0);
}

main();
