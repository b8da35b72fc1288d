"""Before a node is stopped: a master lets its replica take over, and is done when it is a replica itself and the cluster is whole.

Does nothing at a replica. May run twice. `python3 hand_over.py ADDRESS PORT`
"""

import sys
import time

import cluster

PAUSE_SECONDS = 0.1
# For so long a failover is under way, and whoever asks once more begins anew (REDIS_CLUSTER_MF_TIMEOUT, cluster.h).
FAILOVER_SECONDS = 5.0


def main(address, port):
    while True:
        with cluster.Node(address, port) as node:
            if node.is_replica() and node.is_whole():
                return
            replica = node.replica_in_step()
        if replica:
            with cluster.Node(*replica) as node:
                # It says OK and begins, or says why not: then again.
                node.ask("CLUSTER", "FAILOVER")
            over = time.monotonic() + FAILOVER_SECONDS
            while time.monotonic() < over:
                time.sleep(PAUSE_SECONDS)
                with cluster.Node(address, port) as node:
                    if node.is_replica():
                        break
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
