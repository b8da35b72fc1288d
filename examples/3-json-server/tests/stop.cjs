// `node stop.cjs MODULES ROUNDS`: starts json-server 0.17.4 as v1/upgrade.toml does, stops it while four callers write, and looks
// whether its file has everything that was acknowledged. Prints what is missing, and then ends with 1.
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { setTimeout: pause } = require("node:timers/promises");

const CALLERS = 4;
const START_MS = 20_000;
const [modules, rounds] = process.argv.slice(2);

function put(port, agent, id, clock) {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/json" };
    const request = http.request({ host: "127.0.0.1", port, agent, method: "PUT", path: `/posts/${id}`, headers }, (answer) => {
      answer.on("error", reject).on("end", () => resolve(answer.statusCode)).resume();
    });
    request.on("error", reject).end(JSON.stringify({ clock }));
  });
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function started(port) {
  const last = Date.now() + START_MS;
  while (Date.now() < last) {
    const socket = net.connect(port, "127.0.0.1");
    const answered = await once(socket, "connect").then(() => true, () => false);
    socket.destroy();
    if (answered) return;
    await pause(20);
  }
  throw new Error("json-server does not start");
}

async function round(folder) {
  const posts = Array.from({ length: CALLERS }, (_, index) => ({ id: index + 1, clock: 0 }));
  const file = path.join(folder, "db.json");
  fs.writeFileSync(file, JSON.stringify({ posts }));
  const port = await freePort();
  const program = path.join(modules, "json-server/lib/cli/bin.js");
  const finish = path.join(__dirname, "../v1/finish.cjs");
  const child = spawn("node", ["--require", finish, program, "--host", "127.0.0.1", "--port", `${port}`, "--quiet", "db.json"], {
    cwd: folder, env: { ...process.env, NODE_ENV: "production" }, stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = once(child, "exit");
  await started(port);
  const callers = posts.map(async ({ id }) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    let acknowledged = 0;
    try {
      while ((await put(port, agent, id, acknowledged + 1)) === 200) acknowledged += 1;
    } catch {
      // The stop.
    }
    agent.destroy();
    return { id, acknowledged };
  });
  await pause(100 + Math.random() * 200);
  child.kill("SIGTERM");
  const [code] = await ended;
  if (code !== 0) throw new Error(`json-server ended with ${code}`);
  const stored = new Map(JSON.parse(fs.readFileSync(file, "utf8")).posts.map(({ id, clock }) => [id, clock]));
  const seen = await Promise.all(callers);
  if (!seen.some(({ acknowledged }) => acknowledged > 0)) throw new Error("nothing was written before the stop");
  return seen.filter(({ id, acknowledged }) => stored.get(id) < acknowledged);
}

async function main() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "json-server-stop-"));
  let missing = 0;
  for (let number = 0; number < Number(rounds); number += 1) {
    for (const { id, acknowledged } of await round(folder)) {
      missing += 1;
      console.log(`stop ${number + 1}: write ${acknowledged} of /posts/${id} was acknowledged and is not in the file`);
    }
  }
  fs.rmSync(folder, { recursive: true });
  process.exitCode = missing ? 1 : 0;
}

main();
