// A server of Deno.serve: its version, who asks, an echo.
const version = Deno.env.get("VERSION");
const options = { hostname: Deno.env.get("HOST"), port: Number(Deno.env.get("PORT")) };
Deno.serve(options, async (request, info) => {
  const path = new URL(request.url).pathname;
  if (path === "/") return new Response(`version ${version}\n`);
  if (path === "/peer") return new Response(`${info.remoteAddr.hostname} ${info.remoteAddr.port}\n`);
  if (path === "/echo") return new Response(await request.text());
  return new Response("missing\n", { status: 404 });
});
