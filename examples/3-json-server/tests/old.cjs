// json-server 0.17.4 as its command line starts it, with POST /__reset to put the first data back: node old.cjs MODULES FILE
// Prints its port.
const fs = require("fs");
const http = require("http");
const path = require("path");

const [modules, file] = process.argv.slice(2);
const first = fs.readFileSync(file, "utf8");
const create = http.createServer;
http.createServer = (app) => {
  const server = create((request, response) => {
    if (request.url !== "/__reset") return app(request, response);
    app.db.setState(JSON.parse(first)).write();
    response.end();
  });
  server.on("listening", () => process.stdout.write(`port ${server.address().port}\n`));
  return server;
};
// What it says of errors goes to the log, as it would.
process.argv = [process.argv[0], "json-server", "--port", "0", "--host", "127.0.0.1", "--quiet", file];
require(path.join(modules, "json-server/lib/cli/bin.js"));
