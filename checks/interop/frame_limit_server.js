// The npm package websocket as an echo server, with its limits: 64 KiB a frame, 1 MiB a message.
"use strict";
const http = require("http");
const { server: WebSocketServer } = require("websocket");

const httpServer = http.createServer();
new WebSocketServer({ httpServer, autoAcceptConnections: true }).on("connect", (connection) => {
  connection.on("message", (message) => {
    if (message.type === "utf8") connection.sendUTF(message.utf8Data);
    else connection.sendBytes(message.binaryData);
  });
});
httpServer.listen(0, "127.0.0.1", () => console.log("listening on 127.0.0.1:" + httpServer.address().port));
