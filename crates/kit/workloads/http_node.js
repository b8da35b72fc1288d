// node: `serve HOST PORT`, or `call HOST PORT` for 200 requests, half of them on connections that are kept.
const http = require("node:http");
const [, , role, host, port] = process.argv;

function serve() {
  http
    .createServer((request, response) => {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => response.end(`${request.method} ${request.url} ${Buffer.concat(parts)}`));
    })
    .listen(Number(port), host);
}

function ask(agent, number) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, agent, method: "POST", path: `/${number}` }, (response) => {
      let body = "";
      response.on("data", (part) => (body += part));
      response.on("end", () => resolve(body === `POST /${number} body ${number}`));
    });
    request.on("error", reject);
    request.end(`body ${number}`);
  });
}

async function call() {
  const kept = new http.Agent({ keepAlive: true, maxSockets: 5 });
  const numbers = [...Array(200).keys()];
  const results = await Promise.all(numbers.map((number) => ask(number % 2 ? kept : false, number)));
  console.log(`right ${results.filter(Boolean).length} of ${results.length}`);
  kept.destroy();
}

role === "serve" ? serve() : call();
