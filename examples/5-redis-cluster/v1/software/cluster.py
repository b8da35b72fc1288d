"""A node of the cluster, asked over its port for clients."""

import socket

SECONDS = 5.0
SLOTS = 16384


class Node:
    def __init__(self, address, port):
        self.socket = socket.create_connection((address, port), timeout=SECONDS)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        """The answer as text; an error of the server's too."""
        self.socket.sendall((" ".join(words) + "\r\n").encode())
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the node closed the connection")
        if line[:1] == b"$":
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        return line.strip().decode()

    def facts(self, *question):
        """The lines `name:value` of an answer."""
        lines = (line.partition(":") for line in self.ask(*question).splitlines())
        return {name: value for name, _, value in lines}

    def is_replica(self):
        return self.facts("INFO", "replication").get("role") == "slave"

    def is_whole(self):
        """Whether this node sees all of the cluster served."""
        facts = self.facts("CLUSTER", "INFO")
        return facts.get("cluster_state") == "ok" and facts.get("cluster_slots_ok") == str(SLOTS)

    def is_in_step(self):
        """Whether a replica has what its master has; a master always."""
        facts = self.facts("INFO", "replication")
        return facts.get("role") == "master" or (
            facts.get("master_link_status") == "up" and facts.get("master_sync_in_progress") == "0")

    def out_of_reach(self):
        """Those of the others that have not answered this node's last ping, or to which it has no link, or that it takes for failed."""
        missed = []
        for line in self.ask("CLUSTER", "NODES").splitlines():
            _, address, flags, _, ping_sent, _, _, link = line.split(" ")[:8]
            if "myself" not in flags and (link != "connected" or ping_sent != "0" or "fail" in flags or "handshake" in flags):
                missed.append(address)
        return missed

    def replica_in_step(self):
        """Where a replica of this master is that follows it; none where there is none now."""
        facts = self.facts("INFO", "replication")
        for name, value in facts.items():
            if name.startswith("slave") and name[5:].isdigit():
                replica = dict(part.split("=") for part in value.split(","))
                if replica["state"] == "online":
                    return replica["ip"], int(replica["port"])
        return None
