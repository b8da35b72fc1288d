"""A small store over frames, in two versions that do not understand each other: `peer.py VERSION PORT STATE`.

Version 1: four bytes of length, big-endian, of what follows; then a letter and its argument. Version 2: two bytes of signature, four
of length, little-endian, of the whole frame; the letter is a small one. A frame of the other version ends the connection.
`P key=value` stores and is answered `O`, `G key` is answered `V value`; whoever is connected is told of every change, unasked: `N key`.
Where `drain` was stored it takes leave when it is to stop: everybody is told `N stopping`, and it ends when `done` has been stored.
"""

import json
import os
import signal
import socket
import struct
import sys
import threading
import time

VERSION, PORT, STATE = int(sys.argv[1]), int(sys.argv[2]), os.path.join(sys.argv[3], "store.json")
LONGEST = 1 << 20
SIGNATURE = b"\xb2\x02"


class Stranger(Exception):
    """What was said is no frame of this version."""


def exactly(connection, length):
    got = b""
    while len(got) < length:
        part = connection.recv(length - len(got))
        if not part:
            raise Stranger("the end")
        got += part
    return got


def receive(connection):
    if VERSION == 1:
        (length,) = struct.unpack(">I", exactly(connection, 4))
    else:
        signature, length = struct.unpack("<2sI", exactly(connection, 6))
        if signature != SIGNATURE:
            raise Stranger(signature)
        length -= 6
    if not 1 <= length <= LONGEST:
        raise Stranger(length)
    body = exactly(connection, length)
    letter = body[:1]
    if letter.isupper() != (VERSION == 1):
        raise Stranger(letter)
    return letter.upper(), body[1:]


def frame(letter, argument):
    if VERSION == 1:
        return struct.pack(">I", 1 + len(argument)) + letter + argument
    return struct.pack("<2sI", SIGNATURE, 7 + len(argument)) + letter.lower() + argument


lock = threading.Lock()
connected = {}
store = json.load(open(STATE)) if os.path.exists(STATE) else {}


def put(argument, by):
    key, value = argument.split(b"=", 1)
    with lock:
        store[key.decode()] = value.decode()
        with open(STATE + ".new", "w") as file:
            json.dump(store, file)
        os.replace(STATE + ".new", STATE)
        others = [sending for number, sending in connected.items() if number != by]
    for sending in others:
        sending(b"N", key)


def serve(connection, number):
    writing = threading.Lock()

    def send(letter, argument):
        try:
            with writing:
                connection.sendall(frame(letter, argument))
        except OSError:
            pass

    with lock:
        connected[number] = send
    try:
        while True:
            letter, argument = receive(connection)
            if letter == b"P":
                put(argument, number)
                send(b"O", b"")
            elif letter == b"G":
                with lock:
                    value = store.get(argument.decode(), "")
                send(b"V", value.encode())
            else:
                raise Stranger(letter)
    except (Stranger, OSError) as end:
        print("ended:", end, flush=True)
    finally:
        with lock:
            del connected[number]
        connection.close()


def stop(_signal, _frame):
    if "drain" not in store:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    for sending in list(connected.values()):
        sending(b"N", b"stopping")
    while "done" not in store:
        time.sleep(0.01)
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
number = 0
while True:
    try:
        connection, _ = listener.accept()
    except ConnectionAbortedError:
        # Whoever it was has gone again, or is served by others.
        continue
    number += 1
    threading.Thread(target=serve, args=(connection, number), daemon=True).start()
