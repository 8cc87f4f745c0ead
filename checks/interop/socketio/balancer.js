// The official client through a balancer to two processes of the example server:
//   node balancer.js SERVER MODULE PORT PORT PORT NAME COMMAND...
// The first port is the balancer's, whose command this is; the other two are the processes'.
"use strict";
const { spawn } = require("child_process");
const assert = require("assert").strict;
const http = require("http");
const net = require("net");

const [program, module_, port, one, two, name, ...command] = process.argv.slice(2);
const io = require(module_);
const url = "http://127.0.0.1:" + port;
const processes = [one, two].map((port) => {
  const options = ["--listen", "127.0.0.1:" + port, "--behind-proxy", "--max-per-address", "2", "channel"];
  const server = spawn(program, options, { stdio: ["ignore", "pipe", "ignore"] });
  server.printed = "";
  server.stdout.on("data", (data) => (server.printed += data));
  return server;
});
let balancer;
process.on("exit", () => (processes.forEach((server) => server.kill("SIGKILL")), balancer && balancer.kill()));
process.on("SIGTERM", () => process.exit(1));
const here = Array.from({ length: 12 }, (_, i) => "127.0.0." + (2 + i));

// One client at an address of its own, as the balancer sees it.
function open(localAddress, options) {
  const agent = new http.Agent({ localAddress, keepAlive: true });
  return io(url, { agent, forceNew: true, reconnectionDelay: 50, ...options });
}

function next(emitter, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no " + event)), 10000);
    emitter.once(event, (...args) => (clearTimeout(timer), resolve(args)));
  });
}

// Connected, and over to a WebSocket: a client whose server dies in the middle of that notices much
// later.
async function connected(socket) {
  await next(socket, "connect");
  if (socket.io.engine.transport.name === "polling") await next(socket.io.engine, "upgrade");
}

async function talks(socket, text) {
  const back = new Promise((resolve) => socket.on("broadcast", (said) => said === text && resolve()));
  socket.emit("channel", text);
  await Promise.race([back, next(socket, "disconnect").then(([why]) => assert.fail(why))]);
}

function request(localAddress, path, headers) {
  return next(http.get(url + "/socket.io/?EIO=4&transport=polling" + path, { localAddress, headers }), "response");
}

async function text(response) {
  let body = "";
  for await (const data of response) body += data;
  return body;
}

const checks = {
  async "clients poll, and go over to a WebSocket"() {
    const sockets = here.map((address) => open(address));
    await Promise.all(sockets.map(async (socket, i) => {
      await connected(socket);
      await talks(socket, "upgraded " + i);
    }));
    const shares = processes.map((server) => server.printed.match(/^client \S+$/gm)?.length || 0);
    assert(Math.min(...shares) > 0, "not both processes have clients: " + shares);
    sockets.forEach((socket) => socket.disconnect());
  },

  async "clients poll alone"() {
    const sockets = here.map((address) => open(address, { transports: ["polling"] }));
    await Promise.all(sockets.map(async (socket, i) => {
      await next(socket, "connect");
      for (let n = 0; n < 10; n++) await talks(socket, `polled ${i} ${n}`);
    }));
    sockets.forEach((socket) => socket.disconnect());
  },

  async "the bound for each address is of the clients', not of the balancer's"() {
    const refused = open(here[0], { autoConnect: false, reconnection: false });
    const sockets = [open(here[0]), open(here[0])];
    await Promise.all(sockets.map((socket) => next(socket, "connect")));
    await next(refused.connect(), "connect_error");
    const other = open(here[1]);
    await next(other, "connect");
    [...sockets, other].forEach((socket) => socket.disconnect());
  },

  async "a browser's cookie leads to the process that knows the session"() {
    const [opened] = await request(here[5], ""); // where the check before has left no session
    const [cookie] = opened.headers["set-cookie"][0].split(";");
    const sid = "&sid=" + JSON.parse((await text(opened)).slice(1)).sid;
    const elsewhere = [];
    for (const address of here) {
      const [foreign] = await request(address, sid + "x");
      foreign.resume();
      const [answer] = await request(address, sid + "x", { cookie });
      assert.equal(answer.statusCode, 400);
      answer.resume();
      elsewhere.push(foreign.headers["set-cookie"][0].split(";")[0]);
    }
    assert.equal(new Set(elsewhere).size, 2);
    const other = here[elsewhere.findIndex((process) => process !== cookie)];
    const send = http.request(`${url}/socket.io/?EIO=4&transport=polling${sid}`, {
      method: "POST", localAddress: other, headers: { cookie },
    });
    send.end("40");
    assert.equal(await text((await next(send, "response"))[0]), "ok");
    assert.match(await text((await request(other, sid, { cookie }))[0]), /^40{"sid":/);
  },

  async "a process that dies loses its clients to the other"() {
    const sockets = here.map((address) => open(address));
    await Promise.all(sockets.map(connected));
    const gone = sockets.map((socket) => new Promise((resolve) => socket.on("disconnect", () => resolve(socket))));
    processes[0].kill("SIGKILL");
    await next(processes[0], "exit");
    const lost = await Promise.race(gone);
    const until = Date.now() + 10000;
    while (!sockets.every((socket) => socket.connected)) {
      assert(Date.now() < until, "not all came back");
      await new Promise((go) => setTimeout(go, 20));
    }
    await talks(lost, "from the other");
    sockets.forEach((socket) => socket.disconnect());
  },
};

if (name !== "HAProxy") delete checks["a browser's cookie leads to the process that knows the session"];

async function main() {
  await Promise.all(processes.map((server) => next(server.stdout, "data")));
  balancer = spawn(command[0], command.slice(1), { stdio: "inherit" });
  for (let up = false; !up; ) {
    assert.equal(balancer.exitCode, null, name + " does not start");
    up = await new Promise((resolve) => net.connect(port, "127.0.0.1", function () { this.end(); resolve(true); })
      .on("error", () => setTimeout(resolve, 20, false)));
  }
  let failed = false;
  for (const [what, check] of Object.entries(checks)) {
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("it hangs")), 20000)));
    try {
      await Promise.race([check(), late]);
      console.log(`ok   ${name}: ${what}`);
    } catch (error) {
      failed = true;
      console.log(`FAIL ${name}: ${what}: ${String(error.message).slice(0, 300).replace(/\n/g, " ")}`);
    }
    clearTimeout(timer);
  }
  process.exit(failed ? 1 : 0);
}

main();
