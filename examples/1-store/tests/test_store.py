"""The store without Upstart: its versions do not understand each other, and what they acknowledge survives a kill.

Run with `python3 -m unittest discover -s examples/1-store/tests`.
"""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

EXAMPLE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(EXAMPLE, "v1", "software"))
from wire import ClientConnection  # noqa: E402

HEALTH = {1: "/health", 2: "/status", 3: "/ready"}
PORTS = {1: ("--port", "--repair-port", "--port"), 2: ("--data-port", "--sync-port", "--http-port"),
         3: ("--objects-port", "--replicas-port", "--store-port")}
STATE = {1: "--state", 2: "--directory", 3: "--home"}
# what each version's own storage and gateway answer to these, the right form first
DATA_WRITES = {
    1: ("PUT", "/records/a", {"value": 41, "colour": "red", "clock": 7}),
    2: ("POST", "/rows", {"name": "a", "data": "41", "shade": "RED", "stamp": 7}),
    3: ("PUT", "/objects/a", {"content": {"number": 41, "tints": ["red"]}, "mark": {"time": 7}})}
DATA_READS = {1: ("GET", "/records/a", None), 2: ("GET", "/rows?name=a", None), 3: ("GET", "/objects/a", None)}
RECORDS = {1: {"key": "a", "value": 41, "colour": "red", "clock": 7},
           2: {"name": "a", "data": "41", "shade": "RED", "stamp": 7},
           3: {"id": "a", "content": {"number": 41, "tints": ["red"]}, "mark": {"time": 7}}}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client_form(version):
    path = os.path.join(EXAMPLE, f"v{version}", "software", "client.py")
    spec = importlib.util.spec_from_file_location(f"client_{version}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(port, method, target, content=None):
    async def once():
        connection = await ClientConnection.open("127.0.0.1", port)
        try:
            return await connection.call(method, target, content)
        finally:
            connection.close()
    return asyncio.run(once())


class Store(unittest.TestCase):
    def setUp(self):
        self.cleanup = contextlib.ExitStack()
        self.addCleanup(self.cleanup.close)
        self.directory = self.cleanup.enter_context(tempfile.TemporaryDirectory())

    def start(self, version, program, *arguments):
        command = [sys.executable, os.path.join(EXAMPLE, f"v{version}", "software", f"{program}.py"), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.cleanup.callback(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()

    def storage(self, version, state, peers=""):
        port, repair = free_port(), free_port()
        names = PORTS[version]
        process = self.start(version, "storage", names[0], port, names[1], repair, STATE[version], state, "--peers", peers)
        self.wait_healthy(version, port, process)
        return process, port, repair

    def gateway(self, version, storage):
        port = free_port()
        process = self.start(version, "gateway", PORTS[version][2], port, "--storage", storage)
        self.wait_healthy(version, port, process)
        return process, port

    def wait_healthy(self, version, port, process):
        last = time.monotonic() + 20
        while time.monotonic() < last:
            self.assertIsNone(process.poll(), "the program ended")
            with contextlib.suppress(OSError):
                if call(port, "GET", HEALTH[version])[0] == 200:
                    return
        self.fail("the program is not healthy in time")

    def state(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path)
        return path

    def transformed(self, version, old, new):
        """What the transform of this version's bundle makes of a state."""
        new = os.path.join(self.directory, new)
        shutil.copytree(old, new)
        environment = {**os.environ, "UPSTART_OLD_STATE": old, "UPSTART_NEW_STATE": new}
        subprocess.run([sys.executable, os.path.join(EXAMPLE, f"v{version}", "transform.py")], env=environment, check=True)
        return new

    def test_each_version_refuses_the_calls_of_the_others(self):
        for version in (1, 2, 3):
            _, port, _ = self.storage(version, self.state(f"calls-{version}"))
            _, gateway = self.gateway(version, f"127.0.0.1:{port}")
            for other in (1, 2, 3):
                form = client_form(other)
                calls = [(port, *DATA_WRITES[other]), (port, *DATA_READS[other]),
                         (gateway, *form.write("b", 5, "blue", 9)), (gateway, *form.read("b"))]
                for address, *made in calls:
                    with self.subTest(software=version, caller=other, call=made):
                        status, _ = call(address, *made)
                        if version == other:
                            self.assertIn(status, (200, 201))
                        else:
                            self.assertIn(status, (400, 422))

    def test_each_version_refuses_the_state_of_the_others(self):
        states = {}
        for version in (1, 2, 3):
            states[version] = self.state(f"state-{version}")
            process, port, _ = self.storage(version, states[version])
            call(port, *DATA_WRITES[version])
            process.terminate()
            process.wait(20)
        for version in (1, 2, 3):
            for other in {1, 2, 3} - {version}:
                with self.subTest(software=version, state=other):
                    names = PORTS[version]
                    process = self.start(version, "storage", names[0], free_port(), names[1], free_port(),
                                         STATE[version], states[other])
                    _, error = process.communicate(timeout=20)
                    self.assertEqual(process.returncode, 1)
                    self.assertIn(f"storage {version}:", error.decode())

    def test_acknowledged_writes_survive_kills_and_transforms(self):
        state = self.state("first")
        for version in (1, 2, 3):
            if version > 1:
                state = self.transformed(version, state, f"at-{version}")
                _, port, _ = process = self.storage(version, state)
                self.assertEqual(call(port, *DATA_READS[version]), (200, RECORDS[version]))
            else:
                process = self.storage(version, state)
                call(process[1], *DATA_WRITES[version])
            os.kill(process[0].pid, signal.SIGKILL)
            process[0].wait(20)
            if version == 1:
                with open(os.path.join(state, "records.jsonl"), "ab") as file:
                    file.write(b'{"key":"a","value":4')
            again, port, _ = self.storage(version, state)
            self.assertEqual(call(port, *DATA_READS[version]), (200, RECORDS[version]))
            os.kill(again.pid, signal.SIGKILL)
            again.wait(20)

    def test_older_writes_do_not_undo_newer_ones(self):
        for version in (1, 2, 3):
            _, port, _ = self.storage(version, self.state(f"order-{version}"))
            _, gateway = self.gateway(version, f"127.0.0.1:{port}")
            form = client_form(version)
            call(gateway, *form.write("c", 2, "green", 20))
            newer = call(gateway, *form.read("c"))
            call(gateway, *form.write("c", 1, "red", 10))
            self.assertEqual(call(gateway, *form.read("c")), newer)

    def test_a_majority_is_enough_and_the_rest_is_repaired(self):
        for version in (1, 2, 3):
            repair = [free_port() for _ in range(3)]
            nodes = []
            for number in range(3):
                names, port = PORTS[version], free_port()
                peers = ",".join(f"127.0.0.1:{repair[peer]}" for peer in range(3) if peer != number)
                arguments = (names[0], port, names[1], repair[number], STATE[version],
                             self.state(f"repair-{version}-{number}"), "--peers", peers)
                process = self.start(version, "storage", *arguments)
                self.wait_healthy(version, port, process)
                nodes.append((process, port, arguments))
            _, gateway = self.gateway(version, ",".join(f"127.0.0.1:{port}" for _, port, _ in nodes))
            nodes[2][0].kill()
            nodes[2][0].wait(20)
            form = client_form(version)
            self.assertIn(call(gateway, *form.write("a", 41, "red", 7))[0], (200, 201))
            self.wait_healthy(version, nodes[2][1], self.start(version, "storage", *nodes[2][2]))
            last = time.monotonic() + 20
            while call(nodes[2][1], *DATA_READS[version])[0] != 200:
                self.assertLess(time.monotonic(), last, "the third was not repaired in time")


if __name__ == "__main__":
    unittest.main()
