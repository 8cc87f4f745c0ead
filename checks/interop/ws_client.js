// The npm package ws as a client of our server: node ws_client.js PORT WHO [die]
// or of `tls server`: node ws_client.js tls WHO URL...
"use strict";
const { once } = require("events");
const WebSocket = require("ws");
const { connect, same, each, runChecks, converse, stall } = require("./checks.js");
const { shatter } = require("./ws_shatter.js");

const [port, who, mode, ...more_urls] = process.argv.slice(2);
const server = "ws://127.0.0.1:" + port;

// In the API of ws only, not in that of browsers.
const more = {
  "a refusal's status and body": async () => {
    const ws = new WebSocket(server + "/refuse");
    const [, response] = await once(ws, "unexpected-response");
    same("the refusal", [response.statusCode, (await response.toArray()).join("")], [403, "not for you\n"]);
  },
  "its Ping is answered with its payload": async () => {
    const ws = await connect(WebSocket, server + "/echo");
    ws.ping("payload");
    same("the Pong", String(await once(ws, "pong")), "payload");
    ws.close();
  },
  "a message in fragments": async () => {
    const ws = await connect(WebSocket, server + "/echo");
    ws.send("a text ", { fin: false });
    ws.send("", { fin: false });
    ws.send("in pieces", { fin: true });
    same("the echo", await ws.next(), "a text in pieces");
    ws.close();
  },
  // It is agreed on if our server was told to.
  "permessage-deflate": async () => {
    const ws = await connect(WebSocket, server + "/echo", [], { perMessageDeflate: { threshold: 0 } });
    same("extensions", ws.extensions, process.env.DEFLATE ? "permessage-deflate" : "");
    const texts = [...Array(100).keys()].map((i) => `message ${i} of many that say ` + "the same ".repeat(i));
    texts.forEach((text) => ws.send(text));
    for (const text of texts) same("the echo", await ws.next(), text);
    ws.close();
  },
};

async function main() {
  if (mode === "die") {
    return stall(WebSocket, server, () => setTimeout(() => process.kill(process.pid, "SIGKILL"), 200));
  }
  let failed = false;
  const report = (line) => {
    failed ||= line.startsWith("FAIL");
    console.log(line);
  };
  if (port === "tls") {
    await converse(WebSocket, [mode, ...more_urls], "ws, " + who, report, (ws) => shatter(ws._socket));
  } else {
    await runChecks(WebSocket, server, null, "ws, " + who, report);
    await each(more, "ws, " + who, report);
  }
  process.exit(failed ? 1 : 0);
}

main();
