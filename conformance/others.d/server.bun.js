// Echo server of Bun, with default settings.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response('', { status: 426 }),
  websocket: { message: (ws, data) => { ws.send(data); } },
});
console.log(`port ${server.port}`);
