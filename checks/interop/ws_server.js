// The npm package ws as a server with the paths of ours; see peer/main.rs. Over TLS if the
// environment says where its certificate is.
"use strict";
const fs = require("fs");
const http = require("http");
const https = require("https");
const { WebSocketServer } = require("ws");
const { shatter } = require("./ws_shatter.js");

const pem = (name) => fs.readFileSync(process.env.TLS + "/" + name + ".pem");
const server = process.env.TLS ? https.createServer({ key: pem("key"), cert: pem("cert") }) : http.createServer();
const wss = new WebSocketServer({
  noServer: true,
  perMessageDeflate: process.env.DEFLATE ? { threshold: 0 } : false,
  handleProtocols: (offered) => ["v2", "v1"].find((name) => offered.has(name)) || false,
});

server.on("upgrade", (request, socket, head) => {
  if (request.url === "/refuse") {
    socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 8\r\n\r\nnot you\n");
    return;
  }
  wss.handleUpgrade(request, socket, head, (ws) => behave(request.url, ws));
});

function behave(path, ws) {
  if (process.env.TLS) shatter(ws._socket);
  ws.on("error", (error) => console.log(path + ": " + error.message));
  if (path === "/close") {
    ws.once("message", (data) => {
      const [code, ...reason] = String(data).split(" ");
      ws.close(Number(code), reason.join(" "));
    });
  } else if (path === "/count") {
    for (let i = 0; i < 1000; i++) ws.send(String(i));
    ws.close(1000);
  } else if (path === "/die") {
    // A header that announces 64 KiB, some of them, and the end.
    ws._socket.write(Buffer.concat([Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Buffer.alloc(1000)]), () =>
      process.kill(process.pid, "SIGKILL"));
  } else {
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
    if (path === "/idle") {
      const pings = setInterval(() => ws.ping(), 200);
      const began = Date.now();
      let pongs = 0;
      ws.on("pong", function pong() {
        if (++pongs < 3 || Date.now() - began < 1200) return;
        clearInterval(pings);
        ws.off("pong", pong);
        ws.send("alive");
      });
    }
  }
}

server.listen(0, "127.0.0.1", () => console.log("listening on 127.0.0.1:" + server.address().port));
