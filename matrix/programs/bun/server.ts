// A server of Bun.serve: its version, who asks, an echo.
const { HOST, PORT, VERSION } = process.env;
Bun.serve({
  hostname: HOST,
  port: Number(PORT),
  idleTimeout: 60,
  async fetch(request: Request, server: any) {
    const path = new URL(request.url).pathname;
    if (path === "/") return new Response(`version ${VERSION}\n`);
    if (path === "/peer") {
      const { address, port } = server.requestIP(request);
      return new Response(`${address} ${port}\n`);
    }
    if (path === "/echo") return new Response(await request.text());
    return new Response("missing\n", { status: 404 });
  },
});
