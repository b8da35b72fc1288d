// Two workers of Node's cluster module, by the policy in NODE_CLUSTER_SCHED_POLICY; the primary ends them when it is asked to end.
const cluster = require("cluster");
if (cluster.isPrimary) {
  for (let number = 0; number < 2; number += 1) cluster.fork();
  process.on("SIGTERM", () => cluster.disconnect(() => process.exit(0)));
} else {
  process.on("SIGTERM", () => {});
  require("./server.js");
}
