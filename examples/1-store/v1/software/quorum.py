"""Majorities: a call goes to every replica at once and is done when more than half have answered it."""

import asyncio

from wire import ClientConnection

CONNECTIONS_MAX = 32    # to one replica; one that is slower than this is left to the repair
TRY_SECONDS = 30.0      # then a call without a majority has failed
PAUSE_SECONDS = 0.02    # before a replica is asked again; doubles
PAUSE_SECONDS_MAX = 0.5


class Replica:
    """One storage node and the open connections to it."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.host, self.port = host, int(port)
        self.idle = []
        self.busy = 0

    async def call(self, method, target, content=None):
        """One call; an OSError when the replica cannot be reached or has too much to do."""
        if self.busy >= CONNECTIONS_MAX:
            raise ConnectionError("too many calls wait for this replica")
        self.busy += 1
        try:
            connection = None
            while self.idle and connection is None:
                connection = self.idle.pop()
                if connection.closed:
                    connection = None
            if connection is None:
                connection = await ClientConnection.open(self.host, self.port)
            answer = await connection.call(method, target, content)
            if not connection.closed:
                self.idle.append(connection)
            return answer
        finally:
            self.busy -= 1


class NoMajority(Exception):
    """Fewer than half of the replicas answered in time."""


class Quorum:
    """All replicas."""

    def __init__(self, addresses):
        self.replicas = [Replica(address) for address in addresses]
        self.majority = len(self.replicas) // 2 + 1
        self.tasks = set()

    async def call(self, method, target, content, expected, late=None):
        """The answers of the first majority: [(replica, status, JSON)]. Replicas that fail are asked again until then.

        `late(replica, status, JSON)` is told what the others answer afterwards.
        """
        enough = asyncio.get_running_loop().create_future()
        answers = []
        for replica in self.replicas:
            self.start(self.ask(replica, (method, target, content), expected, answers, enough, late))
        try:
            await asyncio.wait_for(asyncio.shield(enough), TRY_SECONDS)
        except asyncio.TimeoutError:
            enough.cancel()
            raise NoMajority() from None
        return answers[:self.majority]

    async def ask(self, replica, call, expected, answers, enough, late):
        pause = PAUSE_SECONDS
        while True:
            try:
                status, content = await replica.call(*call)
                if status in expected:
                    break
                print(f"{replica.host}:{replica.port} answered {status} {content} to {call}", flush=True)
            except (OSError, asyncio.TimeoutError):
                pass
            if enough.done():
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)
            if enough.done():
                return
        if enough.done():
            if late:
                late(replica, status, content)
            return
        answers.append((replica, status, content))
        if len(answers) == self.majority:
            enough.set_result(None)

    def start(self, work):
        """Lets `work` go on beside the calls."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def send(self, replica, *call):
        """One call that nobody waits for (a repair)."""
        async def once():
            try:
                await replica.call(*call)
            except (OSError, asyncio.TimeoutError):
                pass
        self.start(once())
