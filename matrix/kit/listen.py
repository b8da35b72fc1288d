"""Ways to listen that some program has, one each: `listen.py WAY`. Each serves HTTP/1.0: its version, who asks, what it saw of its socket.

Versions take turns where a way differs between them: odd ones do the first, even ones the second. The matrix tries the ways beside the
bare program; the end-to-end tests try them, and some more, with many nodes at once.
"""
import array, ctypes, os, select, signal, socket, struct, sys, threading, time

HOST, PORT, VERSION = os.environ["HOST"], int(os.environ["PORT"]), os.environ["VERSION"]
ODD = int(VERSION) % 2 == 1
seen = []


def tcp(family=socket.AF_INET, reuse=True):
    listener = socket.socket(family)
    if reuse:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener


def answer(connection, peer):
    connection.setblocking(True)
    with connection:
        request = connection.recv(65536)
        if b" /peer " in request:
            said = f"{peer[0].removeprefix('::ffff:')} {peer[1]}"
        elif b" /seen " in request:
            said = "\n".join(seen)
        elif b" /who " in request:
            said = f"{VERSION} {peer[1]}"
        else:
            said = f"version {VERSION}"
        if request:
            connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{said}\n".encode())


def serve(listener):
    """Nothing is expected to fail but connections."""
    listener.setblocking(True)
    while True:
        connection, peer = listener.accept()
        try:
            answer(connection, peer)
        except ConnectionError:
            pass


def serve_all(*listeners):
    for listener in listeners:
        listener.listen(64)
    for listener in listeners[1:]:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    serve(listeners[0])


def bound(host=HOST, family=socket.AF_INET, only=None, reuse=True):
    listener = tcp(family, reuse)
    if only is not None:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    listener.bind((host, PORT))
    return listener


def both(only=0):
    return bound("::", socket.AF_INET6, only)


def children(count, work):
    """Processes that work; the parent ends them when it is asked to end."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if not pid:
            work()
            os._exit(0)
        pids.append(pid)

    def end(*_):
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        os.wait()


def by_epoll(epoll, listener, flags=0):
    while True:
        for _, event in epoll.poll(5):
            if event & ~select.EPOLLIN:
                print("epoll says", event, flush=True)
            while True:
                try:
                    connection, peer = listener.accept()
                except BlockingIOError:
                    break
                answer(connection, peer)
                if not flags:
                    break


def epoll_before_bind():
    listener, epoll = tcp(), select.epoll()
    listener.setblocking(False)
    epoll.register(listener, select.EPOLLIN)
    listener.bind((HOST, PORT))
    listener.listen(64)
    by_epoll(epoll, listener)


def epoll_before_listen():
    listener, epoll = bound(), select.epoll()
    listener.setblocking(False)
    epoll.register(listener, select.EPOLLIN | select.EPOLLET)
    listener.listen(64)
    by_epoll(epoll, listener, select.EPOLLET)


def dup_before_bind():
    first = tcp()
    second = first.dup()
    first.bind((HOST, PORT))
    second.listen(64)
    first.close()
    serve(second)


def child_listens():
    listener = bound()

    def work():
        listener.listen(64)
        serve(listener)

    children(1, work)


def socket_passed_on():
    here, there = socket.socketpair(socket.AF_UNIX)
    listener = tcp()

    def work():
        _, descriptors, _, _ = socket.recv_fds(there, 1, 1)
        taken = socket.socket(fileno=descriptors[0])
        taken.listen(64)
        serve(taken)

    pid = os.fork()
    if not pid:
        listener.close()
        work()
    listener.bind((HOST, PORT))
    socket.send_fds(here, [b"x"], [listener.fileno()])
    listener.close()
    signal.signal(signal.SIGTERM, lambda *_: (os.kill(pid, signal.SIGTERM), sys.exit(0)))
    os.waitpid(pid, 0)


OPTIONS = {
    "SNDBUF": (socket.SOL_SOCKET, socket.SO_SNDBUF, 30000), "RCVBUF": (socket.SOL_SOCKET, socket.SO_RCVBUF, 40000),
    "KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), "OOBINLINE": (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1),
    "PRIORITY": (socket.SOL_SOCKET, socket.SO_PRIORITY, 3), "LINGER": (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3)),
    "SNDTIMEO": (socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 7, 0)),
    "RCVTIMEO": (socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 6000, 0)),
    "TOS": (socket.IPPROTO_IP, socket.IP_TOS, 16), "TTL": (socket.IPPROTO_IP, socket.IP_TTL, 55),
    "NODELAY": (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), "KEEPIDLE": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33),
    "USER_TIMEOUT": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 7000), "SYNCNT": (socket.IPPROTO_TCP, socket.TCP_SYNCNT, 3),
    "CONGESTION": (socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno"), "REUSEPORT": (socket.SOL_SOCKET, socket.SO_REUSEPORT, None),
    "ACCEPTCONN": (socket.SOL_SOCKET, socket.SO_ACCEPTCONN, None), "TIMESTAMP": (socket.SOL_SOCKET, 29, 1),
    "NOTSENT_LOWAT": (socket.IPPROTO_TCP, 25, 16384), "MAXSEG": (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000),
}


def note(when, subject):
    values = []
    for name, (level, option, _) in OPTIONS.items():
        values.append(f"{name}={subject.getsockopt(level, option, 16).hex()}")
    seen.append(f"{when}: {' '.join(values)} blocks={os.get_blocking(subject.fileno())} inherits={os.get_inheritable(subject.fileno())}")


def options_before_bind():
    listener = tcp()
    for level, option, value in OPTIONS.values():
        if value is not None:
            listener.setsockopt(level, option, value)
    listener.setblocking(False)
    listener.set_inheritable(True)
    inode = os.fstat(listener.fileno()).st_ino
    note("before bind", listener)
    listener.bind((HOST, PORT))
    note("bound", listener)
    poll = select.poll()
    poll.register(listener, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    seen.append(f"the same socket: {inode == os.fstat(listener.fileno()).st_ino}, poll before listen: {poll.poll(0)[0][1]}")
    try:
        listener.accept()
        seen.append("accepted before listen")
    except OSError as error:
        seen.append(f"accept before listen: {error}")
    listener.listen(64)
    note("listening", listener)
    # Somebody may be waiting already.
    seen.append(f"poll after listen says more than that: {any(event & ~select.POLLIN for _, event in poll.poll(0))}")
    listener.setblocking(True)
    connection, peer = listener.accept()
    note("accepted", connection)
    answer(connection, peer)
    serve(listener)


def check_by_bind():
    bound().close()
    time.sleep(0.2)
    serve_all(bound())


def check_by_listen():
    trial = bound()
    trial.listen(1)
    trial.close()
    time.sleep(0.2)
    serve_all(bound())


def check_by_connect():
    with socket.socket() as trial:
        trial.settimeout(2)
        result = trial.connect_ex((HOST, PORT))
    seen.append(f"connecting to the own port: {os.strerror(result)}")
    if not result:
        sys.exit("somebody serves here already")
    serve_all(bound())


def no_reuse_address():
    serve_all(bound(reuse=False))


def loopback_wildcard():
    serve_all(bound("127.0.0.1" if ODD else "0.0.0.0"))


def wildcard_loopback():
    serve_all(bound("0.0.0.0" if ODD else "127.0.0.1"))


def wildcard_dual():
    serve_all(bound("0.0.0.0") if ODD else both())


def dual_wildcard():
    serve_all(both() if ODD else bound("0.0.0.0"))


def two_families_dual():
    serve_all(*([bound("0.0.0.0"), both(1)] if ODD else [both()]))


def dual_two_families():
    serve_all(*([both()] if ODD else [bound("0.0.0.0"), both(1)]))


def wildcard_two_addresses():
    serve_all(*([bound("0.0.0.0")] if ODD else [bound("127.0.0.1"), bound("127.0.0.2")]))


def two_addresses_wildcard():
    serve_all(*([bound("127.0.0.1"), bound("127.0.0.2")] if ODD else [bound("0.0.0.0")]))


def shared_port():
    listener = tcp()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((HOST, PORT))
    serve_all(listener)


def fewer_workers():
    children(3 if ODD else 1, shared_port)


def more_workers():
    children(1 if ODD else 3, shared_port)


def late_workers():
    listener = bound()
    listener.listen(64)
    time.sleep(2)
    children(2, lambda: serve(listener))


def forks_twice():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    serve_all(bound())


def emptied_environment():
    """The parent listens; the child, with an environment of its own, accepts."""
    if len(sys.argv) > 2:
        serve(socket.socket(fileno=int(sys.argv[2])))
    listener = bound()
    listener.listen(64)
    listener.set_inheritable(True)
    bare = {name: os.environ[name] for name in ("HOST", "PORT", "VERSION", "ROW")}
    children(1, lambda: os.execve(sys.executable, [sys.executable, *sys.argv, str(listener.fileno())], bare))


def closed_descriptors():
    """As daemons do: whatever was open before is closed, whosever it is."""
    os.closerange(3, 1024)
    serve_all(bound())


def raw_accept():
    """Listens by libc, accepts by the system call itself."""
    numbers = {"x86_64": 288, "aarch64": 242}
    listener = bound()
    listener.listen(64)
    call = ctypes.CDLL(None, use_errno=True).syscall
    while True:
        descriptor = call(numbers[os.uname().machine], listener.fileno(), None, None, 0)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "accept4")
        connection = socket.socket(fileno=descriptor)
        try:
            answer(connection, connection.getpeername())
        except OSError:
            pass


def plain():
    serve_all(bound())


def probes_accept_before_listen():
    """As programs do that look whether a descriptor was given to them listening already."""
    listener = tcp()
    listener.bind((HOST, PORT))
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
    listener.setblocking(False)
    try:
        listener.accept()
        raise SystemExit("accepted before it listens")
    except OSError as error:
        assert error.errno == 22, error
    poll = select.poll()
    poll.register(listener, select.POLLIN | select.POLLHUP)
    assert poll.poll(0)[0][1] & select.POLLHUP
    listener.listen(64)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    serve(listener)


def options_stay():
    """What was set before bind is there afterwards, on the same socket."""
    listener = tcp()
    timeout = array.array("l", [1000, 0]).tobytes()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40000)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 55)
    inode = os.fstat(listener.fileno()).st_ino
    listener.bind((HOST, PORT))
    listener.listen(64)
    assert os.fstat(listener.fileno()).st_ino == inode
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == timeout
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 80000
    assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33
    assert listener.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 55
    serve(listener)


def calls_itself_before_it_is_ready():
    """As Erlang's distribution does with its own port mapper: it ends when it cannot reach itself."""
    listener = bound()
    listener.listen(64)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with socket.create_connection((HOST, PORT), timeout=5) as own:
        own.settimeout(5)
        own.sendall(b"GET /who HTTP/1.0\r\n\r\n")
        assert own.recv(1000).split()[-2:] == [VERSION.encode(), b"%d" % own.getsockname()[1]]
    while True:
        signal.pause()


def finishing(close, *listeners):
    """Ends as threaded servers do: wakes its accepting threads up, then finishes what they have begun."""

    def end(*_):
        for listener in listeners:
            close(listener)
        time.sleep(0.7)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for listener in listeners:
        listener.listen(64)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    while True:
        signal.pause()


def shut(listener):
    listener.shutdown(socket.SHUT_RDWR)


def shuts_down_then_finishes():
    finishing(shut, bound())


def shuts_two_down_then_finishes():
    finishing(shut, bound("0.0.0.0"), both(1))


def disconnects_then_finishes():
    unspecified = ctypes.create_string_buffer(16)
    finishing(lambda listener: ctypes.CDLL(None).connect(listener.fileno(), unspecified, 16), bound())


def finishes_between_polls():
    """As Python's socketserver: polls, accepts, and looks between the two whether it is to end."""
    listener, ending = bound(), []
    listener.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    while not ending:
        if select.select([listener], [], [], 0.5)[0]:
            answer(*listener.accept())
    os._exit(0)


globals()[sys.argv[1].replace("-", "_")]()
