// What Socket.IO costs a server, beside plain WebSocket frames: processor time of the server for
// each message echoed, 16 under way at once. Needs Linux and the package ws:
//   node cost.js ECHO SOCKETIO      the programs examples/echo.rs and socketio_server
"use strict";
const { spawn } = require("child_process");
const fs = require("fs");
const http = require("http");
const WebSocket = require("ws");

const ROUNDS = 7;
const MESSAGES = 16000; // a round
const WINDOW = 16;
const tick = '{"instrument":"EURUSD","bid":1.08421,"ask":1.08423,"size":250}';
const payloads = {
  "text of 62 bytes": tick,
  "text of 1,009 bytes": `[${Array(16).fill(tick)}]`,
  "binary of 64 bytes": Buffer.alloc(64, 7),
  "binary of 1,000 bytes": Buffer.alloc(1000, 7),
};
const placeholder = '{"_placeholder":true,"num":0}';
const running = [];
process.on("exit", () => running.forEach((server) => server.kill("SIGKILL")));

function start(program, ...options) {
  const server = spawn(program, options, { stdio: ["ignore", "pipe", "inherit"] });
  running.push(server);
  return new Promise((go) => server.stdout.once("data", (data) => {
    go({ pid: server.pid, address: String(data).match(/127\.0\.0\.1:\d+/)[0] });
  }));
}

// Nanoseconds that all threads of a process have run.
function ran(pid) {
  const threads = fs.readdirSync(`/proc/${pid}/task`);
  const times = threads.map((id) => fs.readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]);
  return times.map(Number).reduce((a, b) => a + b, 0);
}

// An event that wants an acknowledgement, as packets of Engine.IO.
function event(payload, id) {
  if (typeof payload === "string") return [`42${id}["echo",${payload}]`];
  return [`451-${id}["echo",${placeholder}]`, payload];
}

// The median of some rounds. Sends with `send`, a window at a time, and counts what `receive` is
// told. What goes to `socket` is written at once.
async function measure(pid, send, receive, socket) {
  let [sent, back] = [0, 0];
  const costs = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const before = ran(pid);
    while (sent < round * MESSAGES) {
      if (socket) socket.cork();
      for (let i = 0; i < WINDOW; i++) await send(sent++);
      if (socket) socket.uncork();
      while (back < sent) back += await receive();
    }
    costs.push((ran(pid) - before) / MESSAGES);
  }
  return Math.round(costs.sort((a, b) => a - b)[(ROUNDS - 1) / 2]);
}

// A WebSocket, and what waits for its messages.
async function connect(url) {
  const ws = new WebSocket(url, { perMessageDeflate: false });
  const [queue, waiting] = [[], []];
  ws.on("message", (data, binary) => (waiting.length ? waiting.shift() : (m) => queue.push(m))({ data, binary }));
  await new Promise((open) => ws.once("open", open));
  return [ws, () => (queue.length ? queue.shift() : new Promise((go) => waiting.push(go)))];
}

async function plain({ pid, address }, payload) {
  const [ws, next] = await connect("ws://" + address);
  const cost = await measure(pid, () => ws.send(payload), async () => (await next(), 1), ws._socket);
  ws.close();
  return cost;
}

async function events({ pid, address }, payload) {
  const [ws, next] = await connect(`ws://${address}/socket.io/?EIO=4&transport=websocket`);
  ws.send("40");
  await next(), await next();
  const binary = typeof payload !== "string";
  const receive = async () => Number((await next()).binary === binary); // the last of an acknowledgement
  const send = (id) => event(payload, id).forEach((part) => ws.send(part));
  const cost = await measure(pid, send, receive, ws._socket);
  ws.close();
  return cost;
}

async function polling({ pid, address }, payload) {
  const agent = new http.Agent({ keepAlive: true });
  let sid = "";
  const ask = (body) => new Promise((go) => {
    const url = `http://${address}/socket.io/?EIO=4&transport=polling${sid}`;
    http.request(url, { agent, method: body ? "POST" : "GET" }, async (response) => {
      let text = "";
      for await (const data of response) text += data;
      go(text);
    }).end(body);
  });
  sid = "&sid=" + JSON.parse((await ask()).slice(1)).sid;
  await ask("40"), await ask();
  let body = [];
  const send = async (id) => {
    body.push(...event(payload, id).map((part) => (Buffer.isBuffer(part) ? "b" + part.toString("base64") : part)));
    if (id % WINDOW === WINDOW - 1) await ask(body.join("\x1e")), (body = []);
  };
  const cost = await measure(pid, send, async () => (await ask()).split("\x1e").filter((p) => /^4[36]/.test(p)).length);
  await ask("1");
  return cost;
}

async function main() {
  const [echo, socketio] = process.argv.slice(2);
  const servers = [await start(echo, "127.0.0.1:0"), await start(socketio, "--listen", "127.0.0.1:0", "echo")];
  console.log("| ns for each message | plain frames | Socket.IO on a WebSocket | Socket.IO by polling |\n|---|---|---|---|");
  for (const [name, payload] of Object.entries(payloads)) {
    const costs = [await plain(servers[0], payload), await events(servers[1], payload), await polling(servers[1], payload)];
    console.log(`| ${name} | ${costs.map((cost) => cost.toLocaleString("en")).join(" | ")} |`);
  }
  process.exit();
}

main();
