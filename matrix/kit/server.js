// A server of Node's http module: its version, who asks, an echo.
const http = require("http");
const { HOST, PORT, VERSION } = process.env;
http.createServer((request, response) => {
  if (request.url === "/") return response.end(`version ${VERSION}\n`);
  if (request.url === "/peer") {
    const { remoteAddress, remotePort, localAddress, localPort } = request.socket;
    return response.end(`${remoteAddress} ${remotePort} ${localAddress} ${localPort}\n`);
  }
  if (request.url === "/echo") return request.pipe(response);
  response.statusCode = 404;
  response.end("missing\n");
}).listen(Number(PORT), HOST);
