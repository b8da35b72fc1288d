// json-server 1.0.0-beta.3's application, with POST /__reset to put the first data back: node new.mjs MODULES FILE
// Prints its port.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const [modules, file] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${modules}/${path}`).href);
const { createApp } = await load("json-server/lib/app.js");
const { JSONFile } = await load("lowdb/lib/node.js");
const { Low } = await load("lowdb/lib/index.js");

const first = readFileSync(file, "utf8");
const db = new Low(new JSONFile(file), {});
await db.read();
const app = createApp(db, { logger: false });
const server = createServer(async (request, response) => {
  if (request.url !== "/__reset") return app.attach(request, response);
  db.data = JSON.parse(first);
  await db.write();
  response.end();
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`port ${server.address().port}\n`));
