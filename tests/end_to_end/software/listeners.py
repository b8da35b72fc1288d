"""Servers that listen in one naive way each: KIND PORT VERSION. Each answers a line with its version and the caller's address."""
import array
import os
import select
import ctypes
import signal
import socket
import sys
import threading
import time

KIND, PORT, VERSION = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
LOOPBACK, ANY = ("127.0.0.1", PORT), ("0.0.0.0", PORT)


def make(reuse=True, six=False):
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def listening(address, **how):
    made = make(**how)
    made.bind(address)
    made.listen(64)
    return made


def six(address, only):
    made = make(six=True)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    made.bind((address, PORT))
    made.listen(64)
    return made


def sharing():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(LOOPBACK)
    made.listen(64)
    return made


def answer(connection, peer):
    connection.setblocking(True)
    with connection:
        try:
            while line := connection.recv(100):
                connection.sendall(b"%d %d\n" % (VERSION, peer[1]))
        except OSError:
            pass


def serve(listener):
    """The loop of the tutorials: any error of accept ends it."""
    listener.setblocking(True)
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=answer, args=(connection, peer), daemon=True).start()


def serve_events(poll, listener):
    listener.setblocking(False)
    while True:
        for _, events in poll.poll(1):
            assert not events & select.EPOLLHUP or listener is None
            while True:
                try:
                    connection, peer = listener.accept()
                except BlockingIOError:
                    break
                threading.Thread(target=answer, args=(connection, peer), daemon=True).start()


def serve_all(listeners):
    for listener in listeners[1:]:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    serve(listeners[0])


def workers(count, work):
    """Children that each do the same, and end with their parent."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            work()
            os._exit(0)
        pids.append(pid)

    def end(*_):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        signal.pause()


def plain():
    serve(listening(LOOPBACK))


def without_reuseaddr():
    serve(listening(LOOPBACK, reuse=False))


def bound_by_another():
    made = make()
    made.bind(LOOPBACK)
    workers(1, lambda: (made.listen(64), serve(made)))


def duplicated_before_bind():
    made = make()
    other = made.dup()
    made.bind(LOOPBACK)
    made.close()
    other.listen(64)
    serve(other)


def passed_on_before_listen():
    ours, theirs = socket.socketpair()
    made = make()
    socket.send_fds(ours, [b"x"], [made.fileno()])

    def work():
        _, descriptors, _, _ = socket.recv_fds(theirs, 10, 1)
        passed = socket.socket(fileno=descriptors[0])
        passed.listen(64)
        serve(passed)

    made.bind(LOOPBACK)
    workers(1, work)


def watched_before_bind():
    made, poll = make(), select.epoll()
    poll.register(made, select.EPOLLIN)
    made.bind(LOOPBACK)
    made.listen(64)
    serve_events(poll, made)


def watched_by_edge_before_listen():
    made, poll = make(), select.epoll()
    made.bind(LOOPBACK)
    poll.register(made, select.EPOLLIN | select.EPOLLET)
    made.listen(64)
    serve_events(poll, made)


def probes_accept_before_listen():
    """As programs do that look whether a descriptor was given to them listening already."""
    made = make()
    made.bind(LOOPBACK)
    assert made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
    made.setblocking(False)
    try:
        made.accept()
        raise SystemExit("accepted before it listens")
    except OSError as error:
        assert error.errno == 22, error
    poll = select.poll()
    poll.register(made, select.POLLIN | select.POLLHUP)
    assert poll.poll(0)[0][1] & select.POLLHUP
    made.listen(64)
    assert made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert made.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    serve(made)


def options_set_before_bind():
    made = make()
    timeout = array.array("l", [1000, 0]).tobytes()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40000)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 55)
    before = os.fstat(made.fileno()).st_ino
    made.bind(LOOPBACK)
    made.listen(64)
    assert os.fstat(made.fileno()).st_ino == before
    assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == timeout
    assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 80000
    assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33
    assert made.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 55
    serve(made)


def tries_bind_first():
    trial = make()
    trial.bind(LOOPBACK)
    trial.close()
    plain()


def tries_listen_first():
    listening(LOOPBACK).close()
    plain()


def looks_whether_it_runs_already():
    with socket.socket() as question:
        if question.connect_ex(LOOPBACK) == 0:
            raise SystemExit("it runs already")
    plain()


def calls_itself_before_it_is_ready():
    """As Erlang's distribution does with its own port mapper: it ends when it cannot reach itself."""
    made = listening(LOOPBACK)
    threading.Thread(target=serve, args=(made,), daemon=True).start()
    with socket.create_connection(LOOPBACK, timeout=5) as own:
        own.settimeout(5)
        own.sendall(b"who\n")
        assert own.recv(100).split() == [b"%d" % VERSION, b"%d" % own.getsockname()[1]]
    while True:
        signal.pause()


def forks_twice():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    plain()


def accepts_late_in_children():
    made = listening(LOOPBACK)
    time.sleep(1)
    workers(2, lambda: serve(made))


def loopback_then_any():
    serve(listening(LOOPBACK if VERSION != 2 else ANY))


def any_then_loopback():
    serve(listening(ANY if VERSION != 2 else LOOPBACK))


def any_then_both_families():
    serve(listening(ANY) if VERSION != 2 else six("::", 0))


def both_families_then_any():
    serve(six("::", 0) if VERSION != 2 else listening(ANY))


def two_sockets_then_one():
    serve_all([listening(ANY), six("::", 1)] if VERSION != 2 else [six("::", 0)])


def one_then_two_sockets():
    serve_all([six("::", 0)] if VERSION != 2 else [listening(ANY), six("::", 1)])


def any_then_two_addresses():
    serve_all([listening(ANY)] if VERSION != 2 else [listening(LOOPBACK), listening(("127.0.0.2", PORT))])


def fewer_workers():
    workers(3 if VERSION != 2 else 1, lambda: serve(sharing()))


def more_workers():
    workers(1 if VERSION != 2 else 3, lambda: serve(sharing()))


def finishing(close, *listeners):
    """Ends as threaded servers do: wakes its accepting threads up, then finishes what they have begun."""

    def end(*_):
        for listener in listeners:
            close(listener)
        time.sleep(0.7)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for listener in listeners:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    while True:
        signal.pause()


def shuts_down_then_finishes():
    finishing(lambda listener: listener.shutdown(socket.SHUT_RDWR), listening(LOOPBACK))


def shuts_two_down_then_finishes():
    finishing(lambda listener: listener.shutdown(socket.SHUT_RDWR), listening(ANY), six("::", 1))


def disconnects_then_finishes():
    unspecified = ctypes.create_string_buffer(16)
    finishing(lambda listener: ctypes.CDLL(None).connect(listener.fileno(), unspecified, 16), listening(LOOPBACK))


def finishes_between_polls():
    """As Python's socketserver: polls, accepts, and looks between the two whether it is to end."""
    listener, ending = listening(LOOPBACK), []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    while not ending:
        if select.select([listener], [], [], 0.5)[0]:
            connection, peer = listener.accept()
            threading.Thread(target=answer, args=(connection, peer), daemon=True).start()
    os._exit(0)


globals()[KIND]()
