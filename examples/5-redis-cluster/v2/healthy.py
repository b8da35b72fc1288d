"""Whether a node has found its way back: it sees all of the cluster served, and a replica follows its master.

`python3 healthy.py ADDRESS PORT`
"""

import sys

import cluster


def main(address, port):
    with cluster.Node(address, port) as node:
        if not node.is_whole():
            sys.exit("it does not see all of the cluster served")
        if not node.is_in_step():
            sys.exit("it does not follow its master yet")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
