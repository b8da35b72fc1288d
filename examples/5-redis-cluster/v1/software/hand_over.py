"""Before a node is stopped: a master lets its replica take over, and is done when it is a replica itself and the cluster is whole.

Does nothing at a replica. May run twice. `python3 hand_over.py ADDRESS PORT`
"""

import sys
import time

import cluster

PAUSE_SECONDS = 0.1
# For so long a failover is under way, and whoever asks once more begins anew (REDIS_CLUSTER_MF_TIMEOUT, cluster.h).
FAILOVER_SECONDS = 5.0


def say(what):
    """The end of what is printed is told to the operator where this does not end in time."""
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def main(address, port):
    while True:
        with cluster.Node(address, port) as node:
            is_replica = node.is_replica()
            if is_replica and node.is_whole():
                return
            replica = node.replica_in_step()
        if is_replica:
            say("it is a replica, and does not see all of the cluster served")
        elif not replica:
            say("no replica follows it")
        else:
            with cluster.Node(*replica) as node:
                # Who misses that it takes over thinks for seconds that no one has its slots.
                missed = node.out_of_reach()
                if missed:
                    say(f"{replica[0]} is to take over, and does not reach {', '.join(missed)} yet")
                    time.sleep(PAUSE_SECONDS)
                    continue
                # It says OK and begins, or says why not: then again.
                say(f"{replica[0]} is to take over: {node.ask('CLUSTER', 'FAILOVER')}")
            over = time.monotonic() + FAILOVER_SECONDS
            while time.monotonic() < over:
                time.sleep(PAUSE_SECONDS)
                with cluster.Node(address, port) as node:
                    if node.is_replica():
                        break
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
