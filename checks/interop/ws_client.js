// The npm package ws as a client of our server: node ws_client.js PORT WHO [die]
// or of `tls server`: node ws_client.js tls WHO URL...
"use strict";
const WebSocket = require("ws");
const { runChecks, converse, stall } = require("./checks.js");
const { shatter } = require("./ws_shatter.js");

const [port, who, mode, ...more_urls] = process.argv.slice(2);
const server = "ws://127.0.0.1:" + port;

// What `begin` resolves with, or what is wrong.
function outcomeOf(begin) {
  const late = new Promise((resolve) => setTimeout(resolve, 10000, "it hangs"));
  return Promise.race([new Promise(begin), late]);
}

// In the API of ws only, not in that of browsers.
async function more(report) {
  const name = `ws, ${who}: a refusal's status and body`;
  const outcome = await outcomeOf((resolve) => {
    const ws = new WebSocket(server + "/refuse");
    ws.on("unexpected-response", (_, response) => {
      let body = "";
      response.on("data", (data) => (body += data));
      response.on("end", () => resolve(`${response.statusCode} ${body}`));
    });
    ws.on("open", () => resolve("it opens"));
    ws.on("error", (error) => resolve(error.message));
  });
  report(outcome === "403 not for you\n" ? `ok   ${name}` : `FAIL ${name}: ${outcome}`);

  const pinged = await outcomeOf((resolve) => {
    const ws = new WebSocket(server + "/echo");
    ws.on("open", () => ws.ping("payload"));
    ws.on("pong", (data) => (ws.close(), resolve(String(data))));
    ws.on("error", (error) => resolve(error.message));
  });
  const ping = `ws, ${who}: its Ping is answered with its payload`;
  report(pinged === "payload" ? `ok   ${ping}` : `FAIL ${ping}: ${pinged}`);

  const echoed = await outcomeOf((resolve) => {
    const ws = new WebSocket(server + "/echo");
    ws.on("open", () => {
      ws.send("a text ", { fin: false });
      ws.send("", { fin: false });
      ws.send("in pieces", { fin: true });
    });
    ws.on("message", (data) => (ws.close(), resolve(String(data))));
    ws.on("error", (error) => resolve(error.message));
  });
  const pieces = `ws, ${who}: a message in fragments`;
  report(echoed === "a text in pieces" ? `ok   ${pieces}` : `FAIL ${pieces}: ${echoed}`);
}

// permessage-deflate is agreed on if our server was told to.
async function deflate(report) {
  const name = `ws, ${who}: permessage-deflate`;
  const texts = [...Array(100).keys()].map((i) => `message ${i} of many that say ` + "the same ".repeat(i));
  const outcome = await outcomeOf((resolve) => {
    const ws = new WebSocket(server + "/echo", { perMessageDeflate: { threshold: 0 } });
    let n = 0;
    ws.on("open", () => texts.forEach((text) => ws.send(text)));
    ws.on("message", (data) => {
      if (String(data) !== texts[n++]) resolve(`message ${n} comes back changed`);
      if (n === texts.length) (ws.close(), resolve(ws.extensions));
    });
    ws.on("error", (error) => resolve(error.message));
  });
  const wanted = process.env.DEFLATE ? "permessage-deflate" : "";
  report(outcome === wanted ? `ok   ${name}` : `FAIL ${name}: ${outcome}`);
}

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
    process.exit(failed ? 1 : 0);
  }
  await runChecks(WebSocket, server, null, "ws, " + who, report);
  await more(report);
  await deflate(report);
  process.exit(failed ? 1 : 0);
}

main();
