// json-server 0.17.4 answers a write before its file has it, so whoever stops it between the two loses what was acknowledged. On
// SIGTERM this takes no more calls, and lets the file catch up with what was answered.
const { Server } = require("node:http");

const PAUSE_MS = 5;
const servers = [];
const { listen } = Server.prototype;

Server.prototype.listen = function (...where) {
  servers.push(this);
  return listen.apply(this, where);
};

process.on("SIGTERM", () => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  endWhenWritten();
});

// The next write begins in the turn in which the one before it ends: between two turns there is always one at work while any is due.
function endWhenWritten() {
  if (process.getActiveResourcesInfo().includes("FSReqCallback")) setTimeout(endWhenWritten, PAUSE_MS);
  else process.exit(0);
}
