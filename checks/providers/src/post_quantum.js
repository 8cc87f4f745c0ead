// The npm package ws over Node's OpenSSL, which agrees on no other groups than these:
//
//   node post_quantum.js serve GROUPS CERTIFICATE KEY      prints its port, and echoes
//   node post_quantum.js connect GROUPS CERTIFICATE PORT   sends a text, which has to come back
"use strict";
const fs = require("fs");
const https = require("https");
const { WebSocket, WebSocketServer } = require("ws");
const [role, groups, certificate, last] = process.argv.slice(2);
const cert = fs.readFileSync(certificate);

if (role === "serve") {
  const server = https.createServer({ cert, key: fs.readFileSync(last), ecdhCurve: groups });
  new WebSocketServer({ server }).on("connection", (ws) => {
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
} else {
  const ws = new WebSocket(`wss://localhost:${last}/`, { ca: cert, ecdhCurve: groups });
  ws.on("open", () => ws.send("over OpenSSL"));
  ws.on("message", (data) => {
    if (String(data) !== "over OpenSSL") throw new Error(String(data));
    ws.close(1000);
  });
}
