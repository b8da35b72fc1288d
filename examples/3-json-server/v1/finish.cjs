// json-server 0.17.4 empties its file and writes it anew in one turn of its loop, and answers then. A signal handler runs
// between two turns, so a stop never meets the file half written.
process.on("SIGTERM", () => process.exit(0));
