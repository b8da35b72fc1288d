/* What software sees of its sockets, call by call. Run bare and under the library, the transcripts must be equal.
 *
 * usage: probe SCENARIO PORT CLOSED_PORT       PORT is served here, nothing listens at CLOSED_PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int port, closed_port;
static const char *self;

static void say(const char *what, ...) {
    va_list rest;
    va_start(rest, what);
    vprintf(what, rest);
    va_end(rest);
    putchar('\n');
}

static const char *error_name(long result) { return result < 0 ? strerrorname_np(errno) : "ok"; }

/* Says a call's result and errno, which a success must not touch. */
#define SAY(call)                                                              \
    ({                                                                         \
        errno = 4242;                                                          \
        long result_ = (call);                                                 \
        say("%s = %ld %s", #call, result_, result_ < 0 ? strerrorname_np(errno) : errno == 4242 ? "" : "errno touched"); \
        result_;                                                               \
    })

/* The same where the result is a descriptor or a length that does not matter. */
#define SAY_SIGN(call)                                                         \
    ({                                                                         \
        errno = 4242;                                                          \
        long result_ = (call);                                                 \
        say("%s %s", #call, result_ < 0 ? strerrorname_np(errno) : errno == 4242 ? "ok" : "errno touched"); \
        result_;                                                               \
    })

static void must(long result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "probe: %s: %s\n", what, error_name(result));
        exit(3);
    }
}

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct sockaddr_in v4(const char *ip, int to) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to)};
    inet_pton(AF_INET, ip, &address.sin_addr);
    return address;
}

static struct sockaddr_in6 v6(const char *ip, int to) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(to)};
    inet_pton(AF_INET6, ip, &address.sin6_addr);
    return address;
}

#define ADDRESS(a) (struct sockaddr *)&(a), sizeof(a)

static int listener_with(int family, int protocol, int flags, int backlog) {
    int fd = socket(family, SOCK_STREAM | flags, protocol), on = 1;
    must(fd, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET) {
        struct sockaddr_in address = v4("127.0.0.1", port);
        must(bind(fd, ADDRESS(address)), "bind");
    } else {
        struct sockaddr_in6 address = v6("::", port);
        must(bind(fd, ADDRESS(address)), "bind");
    }
    must(listen(fd, backlog), "listen");
    return fd;
}

static int listener(void) { return listener_with(AF_INET, 0, 0, 128); }

static void say_errors(int fd) {
    int error = -1;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    say("SO_ERROR %s", error ? strerrorname_np(error) : "0");
}

static void say_peer(int fd) {
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0) {
        say("peer: %s", strerrorname_np(errno));
        return;
    }
    char text[64] = "";
    int from = 0;
    if (peer.ss_family == AF_INET) {
        inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, sizeof text);
        from = ntohs(((struct sockaddr_in *)&peer)->sin_port);
    } else {
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, sizeof text);
        from = ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
    }
    say("peer: %s %s length %d", text, from == port ? "the service" : "a client", length);
}

/* Reads to the end of the stream and says it. */
static void say_stream(const char *who, int fd) {
    char text[4096];
    size_t count = 0;
    for (;;) {
        ssize_t got = read(fd, text + count, sizeof text - 1 - count);
        if (got < 0) {
            say("%s: read %s after %zu bytes", who, strerrorname_np(errno), count);
            return;
        }
        if (got == 0) break;
        count += got;
    }
    text[count] = 0;
    say("%s: stream of %zu bytes: %.60s", who, count, text);
}

/* A thread that accepts `clients` one after another, sends what it gets back, and closes. */
struct echo { int fd, clients; const char *banner; int accepted, failed; pthread_t thread; };

static void *echo_loop(void *argument) {
    struct echo *echo = argument;
    for (int i = 0; i < echo->clients; i++) {
        int fd = accept(echo->fd, NULL, NULL);
        if (fd < 0) { echo->failed++; continue; }
        echo->accepted++;
        if (echo->banner) write(fd, echo->banner, strlen(echo->banner));
        char text[512];
        ssize_t got;
        while ((got = read(fd, text, sizeof text)) > 0) write(fd, text, got);
        close(fd);
    }
    return NULL;
}

static void echo_start(struct echo *echo) { pthread_create(&echo->thread, NULL, echo_loop, echo); }
static void echo_end(struct echo *echo) {
    pthread_join(echo->thread, NULL);
    say("server accepted %d, failed %d", echo->accepted, echo->failed);
    close(echo->fd);
}

static void talk(int fd) {
    char text[16] = "";
    SAY(send(fd, "hello", 5, MSG_NOSIGNAL));
    SAY(recv(fd, text, 5, MSG_WAITALL));
    say("got %.5s", text);
}

static void blocking(void) {
    struct echo echo = {.fd = listener(), .clients = 1};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(to)));
    say_errors(fd);
    say_peer(fd);
    SAY(connect(fd, ADDRESS(to)));
    talk(fd);
    SAY(connect(fd, ADDRESS(to)));
    close(fd);
    echo_end(&echo);
}

static void nonblocking(void) {
    struct echo echo = {.fd = listener(), .clients = 1};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(connect(fd, ADDRESS(to)));
    struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
    SAY(poll(&ready, 1, 5000));
    say("events %#x", ready.revents);
    say_errors(fd);
    SAY(connect(fd, ADDRESS(to)));
    SAY(connect(fd, ADDRESS(to)));
    say_peer(fd);
    fcntl(fd, F_SETFL, 0);
    talk(fd);
    close(fd);
    echo_end(&echo);
}

static void select_loop(void) {
    struct echo echo = {.fd = listener(), .clients = 1};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(connect(fd, ADDRESS(to)));
    fd_set writable;
    FD_ZERO(&writable);
    FD_SET(fd, &writable);
    struct timeval wait = {5, 0};
    SAY_SIGN(select(fd + 1, NULL, &writable, NULL, &wait));
    say_errors(fd);
    fcntl(fd, F_SETFL, 0);
    talk(fd);
    close(fd);
    echo_end(&echo);
}

static void refused(void) {
    struct sockaddr_in to = v4("127.0.0.1", closed_port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(to)));
    say_errors(fd);
    say_peer(fd);
    SAY(connect(fd, ADDRESS(to)));
    /* The same descriptor may be used for another attempt. */
    struct echo echo = {.fd = listener(), .clients = 1};
    echo_start(&echo);
    struct sockaddr_in open = v4("127.0.0.1", port);
    SAY(connect(fd, ADDRESS(open)));
    talk(fd);
    close(fd);
    echo_end(&echo);
}

static void refused_nonblocking(void) {
    struct sockaddr_in to = v4("127.0.0.1", closed_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(connect(fd, ADDRESS(to)));
    struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
    SAY(poll(&ready, 1, 5000));
    say("events %#x", ready.revents);
    say_errors(fd);
    say_errors(fd);
    SAY(connect(fd, ADDRESS(to)));
    SAY(poll(&ready, 1, 5000));
    SAY(connect(fd, ADDRESS(to)));
    SAY(send(fd, "x", 1, MSG_NOSIGNAL));
    close(fd);
}

static void epoll_edges(void) {
    int set = epoll_create1(0);
    for (int open = 1; open >= 0; open--) {
        int service = open ? listener() : -1;
        struct sockaddr_in to = v4("127.0.0.1", open ? port : closed_port);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        SAY(connect(fd, ADDRESS(to)));
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
        int count = SAY(epoll_wait(set, &event, 1, 5000));
        if (count == 1) say("events %#x", event.events);
        SAY(epoll_wait(set, &event, 1, 50));
        say_errors(fd);
        if (open) {
            int other = SAY_SIGN(accept4(service, NULL, NULL, SOCK_NONBLOCK));
            SAY(epoll_wait(set, &event, 1, 50));
            write(other, "banner", 6);
            count = SAY(epoll_wait(set, &event, 1, 5000));
            if (count == 1) say("events %#x", event.events);
            close(other);
            close(service);
        }
        close(fd);
    }
}

static void server_first(void) {
    struct echo echo = {.fd = listener(), .clients = 1, .banner = "220 ready\n"};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char text[16] = "";
    SAY(connect(fd, ADDRESS(to)));
    SAY(recv(fd, text, 10, MSG_WAITALL));
    say("banner %s", text);
    talk(fd);
    close(fd);
    echo_end(&echo);
}

static void half_close(void) {
    int service = listener();
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(to)));
    SAY(send(fd, "all of it", 9, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_WR));
    int other = SAY_SIGN(accept(service, NULL, NULL));
    int waiting = -1;
    ioctl(other, FIONREAD, &waiting);
    say("waiting %d", waiting);
    say_stream("server", other);
    close(other);
    say_stream("client", fd);
    close(fd);
    /* Nothing at all, closed before it is accepted. */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(to)));
    close(fd);
    other = SAY_SIGN(accept(service, NULL, NULL));
    say_stream("server", other);
    close(other);
    /* Reset before it is accepted. */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(to)));
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
    other = SAY_SIGN(accept(service, NULL, NULL));
    say_stream("server", other);
    say_peer(other);
    close(other);
    close(service);
}

static void accept_forms(void) {
    int service = listener_with(AF_INET, 0, SOCK_NONBLOCK, 128);
    struct sockaddr_in to = v4("127.0.0.1", port);
    SAY(accept(service, NULL, NULL));
    int clients[5];
    for (int i = 0; i < 5; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        SAY(connect(clients[i], ADDRESS(to)));
    }
    struct sockaddr_storage from;
    memset(&from, 0xAA, sizeof from);
    socklen_t length = sizeof from;
    int fd = SAY_SIGN(accept(service, (struct sockaddr *)&from, &length));
    say("length %d family %d", length, from.ss_family);
    say("flags %#x %#x", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    say_peer(fd);
    close(fd);
    fd = SAY_SIGN(accept4(service, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    say("flags %#x %#x", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    close(fd);
    unsigned char cut[16];
    memset(cut, 0xAA, sizeof cut);
    length = 6;
    fd = SAY_SIGN(accept(service, (struct sockaddr *)cut, &length));
    say("length %d, byte 4 %#x, byte 6 %#x", length, cut[4], cut[6]);
    close(fd);
    length = -1;
    SAY(accept(service, (struct sockaddr *)&from, &length));
    SAY(accept4(service, NULL, NULL, 0x40000000));
    fd = SAY_SIGN(accept(service, NULL, NULL));
    close(fd);
    SAY(accept(service, NULL, NULL));
    SAY(accept(-1, NULL, NULL));
    SAY(accept(1, NULL, NULL));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(accept(fd, NULL, NULL));
    for (int i = 0; i < 5; i++) close(clients[i]);
}

static void odd_calls(void) {
    struct sockaddr_in to = v4("127.0.0.1", port);
    SAY(connect(-1, ADDRESS(to)));
    SAY(connect(1, ADDRESS(to)));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, (struct sockaddr *)&to, 8));
    SAY(connect(fd, NULL, 0));
    struct sockaddr_in other = to;
    other.sin_family = 99;
    SAY(connect(fd, ADDRESS(other)));
    /* A datagram socket to a member's address and port. */
    int datagram = socket(AF_INET, SOCK_DGRAM, 0);
    SAY(connect(datagram, ADDRESS(to)));
    SAY(send(datagram, "x", 1, 0));
    close(datagram);
    /* A listening socket. */
    int service = listener();
    SAY(connect(service, ADDRESS(to)));
    /* Dissolving a connection and making it anew. */
    SAY(connect(fd, ADDRESS(to)));
    struct sockaddr nothing = {.sa_family = AF_UNSPEC};
    SAY(connect(fd, &nothing, sizeof nothing));
    say_peer(fd);
    SAY(connect(fd, ADDRESS(to)));
    int first = SAY_SIGN(accept(service, NULL, NULL));
    int second = SAY_SIGN(accept(service, NULL, NULL));
    SAY(send(fd, "again", 5, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_WR));
    say_stream("first", first);
    say_stream("second", second);
    close(first), close(second), close(fd);
    /* A chosen local address. */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in from = v4("127.0.0.5", 0);
    SAY(bind(fd, ADDRESS(from)));
    SAY(connect(fd, ADDRESS(to)));
    socklen_t length = sizeof from;
    getsockname(fd, (struct sockaddr *)&from, &length);
    say("from %s", inet_ntoa(from.sin_addr));
    close(fd);
    close(service);
    /* Unix sockets. */
    int pair = socket(AF_UNIX, SOCK_STREAM, 0), caller = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path + 1, 60, "probe-%d", getpid());
    SAY(bind(pair, ADDRESS(name)));
    SAY(listen(pair, 1));
    SAY(connect(caller, ADDRESS(name)));
    struct sockaddr_un seen;
    length = sizeof seen;
    SAY_SIGN(accept(pair, (struct sockaddr *)&seen, &length));
    say("length %d", length);
    SAY(listen(-1, 5));
    SAY(bind(-1, ADDRESS(to)));
    SAY(getpeername(caller, NULL, NULL));
    SAY(getpeername(-1, (struct sockaddr *)&seen, &length));
}

static void families(int server_family, int protocol) {
    struct echo echo = {.fd = listener_with(server_family, protocol, 0, 128), .clients = server_family == AF_INET ? 2 : 4};
    echo_start(&echo);
    struct sockaddr_in four = v4("127.0.0.1", port);
    struct sockaddr_in6 mapped = v6("::ffff:127.0.0.1", port), six = v6("::1", port);
    struct sockaddr_in any = v4("0.0.0.0", port);
    for (int round = 0; round < echo.clients; round++) {
        int family = round == 0 || round == 3 ? AF_INET : AF_INET6;
        int fd = socket(family, SOCK_STREAM, protocol);
        must(fd, "socket");
        if (round == 0) SAY(connect(fd, ADDRESS(four)));
        if (round == 1) SAY(connect(fd, ADDRESS(mapped)));
        if (round == 2) SAY(connect(fd, ADDRESS(six)));
        if (round == 3) SAY(connect(fd, ADDRESS(any)));
        say_peer(fd);
        talk(fd);
        close(fd);
    }
    echo_end(&echo);
}

static void families_v4(void) { families(AF_INET, 0); }
static void families_dual(void) { families(AF_INET6, 0); }
static void families_mptcp(void) { families(AF_INET6, IPPROTO_MPTCP); }

static void mptcp_nonblocking(void) {
    struct echo echo = {.fd = listener_with(AF_INET, IPPROTO_MPTCP, 0, 128), .clients = 1};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_MPTCP);
    SAY(connect(fd, ADDRESS(to)));
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    SAY(poll(&ready, 1, 5000));
    say("events %#x", ready.revents);
    say_errors(fd);
    fcntl(fd, F_SETFL, 0);
    talk(fd);
    close(fd);
    echo_end(&echo);
}

static void mixed_mptcp(void) {
    struct echo echo = {.fd = listener_with(AF_INET, IPPROTO_MPTCP, 0, 128), .clients = 1};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(to)));
    talk(fd);
    close(fd);
    echo_end(&echo);
}

static int signals;
static void on_signal(int number) { signals += number == SIGALRM; }

/* A listener whose queue is full: connects wait. Its one place is taken by `filler`. */
static int full(int *filler) {
    int service = listener_with(AF_INET, 0, 0, 0);
    struct sockaddr_in to = v4("127.0.0.1", port);
    *filler = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(*filler, ADDRESS(to)), "connect");
    struct pollfd ready = {.fd = service, .events = POLLIN};
    poll(&ready, 1, 2000);
    return service;
}

static void alarm_in(int ms, int repeat_ms, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, repeat_ms * 1000}, {0, ms * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void *drain(void *argument) {
    int service = *(int *)argument;
    usleep(400000);
    close(accept(service, NULL, NULL));
    return NULL;
}

static void interrupted(int flags) {
    int filler, service = full(&filler);
    struct sockaddr_in to = v4("127.0.0.1", port);
    pthread_t thread;
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
    pthread_create(&thread, NULL, drain, &service);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    alarm_in(60, 60, flags);
    long result = SAY(connect(fd, ADDRESS(to)));
    alarm_in(0, 0, flags);
    say("signals %s", signals > 0 ? "some" : "none");
    if (result < 0) {
        SAY(connect(fd, ADDRESS(to)));
    }
    pthread_join(thread, NULL);
    say_errors(fd);
    SAY(send(fd, "once", 4, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_WR));
    int other = SAY_SIGN(accept(service, NULL, NULL));
    say_stream("server", other);
    close(other), close(fd), close(filler), close(service);
}

static void signals_restart(void) { interrupted(SA_RESTART); }
static void signals_interrupt(void) { interrupted(0); }

static void accept_interrupted(void) {
    int service = listener();
    alarm_in(100, 0, 0);
    SAY(accept(service, NULL, NULL));
    struct timeval wait = {0, 100000};
    setsockopt(service, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    SAY(accept(service, NULL, NULL));
    close(service);
}

static void time_outs(void) {
    int filler, service = full(&filler);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval wait = {0, 300000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    long begun = now_ms();
    SAY(connect(fd, ADDRESS(to)));
    long took = now_ms() - begun;
    say("took %s", took >= 250 && took < 900 ? "its time" : "too long or short");
    SAY(connect(fd, ADDRESS(to)));
    close(fd);
    /* TCP_USER_TIMEOUT ends the attempt by itself. */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    int user = 400;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user);
    SAY(connect(fd, ADDRESS(to)));
    say_errors(fd);
    SAY(connect(fd, ADDRESS(to)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user);
    SAY(connect(fd, ADDRESS(to)));
    struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
    SAY(poll(&ready, 1, 100));
    SAY(connect(fd, ADDRESS(to)));
    SAY(poll(&ready, 1, 5000));
    say("events %#x", ready.revents);
    say_errors(fd);
    close(fd), close(filler), close(service);
}

/* To an address whose packets vanish: argv's CLOSED_PORT at 10.99.0.2, in a network namespace that drops them. */
static void vanished(void) {
    struct sockaddr_in to = v4("10.99.0.2", closed_port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), user = 700;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user);
    SAY(connect(fd, ADDRESS(to)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user);
    SAY(connect(fd, ADDRESS(to)));
    struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
    SAY(poll(&ready, 1, 10000));
    say("events %#x", ready.revents);
    say_errors(fd);
    close(fd);
    struct sockaddr_in unreachable = v4("192.0.2.1", closed_port);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(unreachable)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(connect(fd, ADDRESS(unreachable)));
    close(fd);
}

static void one_call(const char *word) {
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(fd, ADDRESS(to)), "connect");
    write(fd, word, strlen(word));
    shutdown(fd, SHUT_WR);
    char text[64];
    while (read(fd, text, sizeof text) > 0) {}
    close(fd);
}

static void processes(void) {
    int service = listener();
    fflush(stdout);
    if (fork() == 0) { one_call("forked"); _exit(0); }
    /* One after the other: who is first must not be chance. */
    struct pollfd first = {.fd = service, .events = POLLIN};
    poll(&first, 1, 10000);
    if (vfork() == 0) {
        char ports[2][16];
        snprintf(ports[0], 16, "%d", port);
        snprintf(ports[1], 16, "%d", closed_port);
        execl(self, self, "one_call", ports[0], ports[1], NULL);
        _exit(9);
    }
    for (int i = 0; i < 2; i++) {
        int fd = SAY_SIGN(accept(service, NULL, NULL)), pipes[2];
        /* A process of its own for each connection. */
        must(pipe(pipes), "pipe");
        fflush(stdout);
        if (fork() == 0) {
            char text[64];
            ssize_t got, count = 0;
            while ((got = read(fd, text + count, sizeof text - count)) > 0) count += got;
            write(pipes[1], text, count);
            _exit(0);
        }
        close(pipes[1]);
        char text[64] = "";
        read(pipes[0], text, sizeof text - 1);
        say("a connection said %zu bytes", strlen(text));
        close(pipes[0]);
        close(fd);
    }
    int status, bad = 0;
    while (wait(&status) > 0) bad += status != 0;
    say("bad children %d", bad);
    /* Accepting in forked workers. */
    pid_t worker = fork();
    if (worker == 0) {
        int fd = accept(service, NULL, NULL);
        char text[64] = "";
        ssize_t count = read(fd, text, sizeof text);
        write(fd, text, count);
        _exit(count);
    }
    one_call("to a worker");
    waitpid(worker, &status, 0);
    say("worker read %d", WEXITSTATUS(status));
    close(service);
}

static void *callers(void *argument) {
    long *good = argument;
    for (int i = 0; i < 50; i++) {
        struct sockaddr_in to = v4("127.0.0.1", port);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char text[8];
        if (connect(fd, ADDRESS(to)) == 0 && send(fd, "thread!", 7, MSG_NOSIGNAL) == 7 && recv(fd, text, 7, MSG_WAITALL) == 7)
            *good += memcmp(text, "thread!", 7) == 0;
        close(fd);
    }
    return NULL;
}

static void threads(void) {
    enum { COUNT = 8 };
    struct echo echo[COUNT];
    int service = listener();
    pthread_t threads[COUNT];
    long good[COUNT] = {0}, all = 0, accepted = 0;
    for (int i = 0; i < COUNT; i++) {
        echo[i] = (struct echo){.fd = service, .clients = 50};
        echo_start(&echo[i]);
        pthread_create(&threads[i], NULL, callers, &good[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        pthread_join(threads[i], NULL);
        pthread_join(echo[i].thread, NULL);
        all += good[i], accepted += echo[i].accepted;
    }
    say("good %ld accepted %ld", all, accepted);
}

static void reuse_port(void) {
    int workers[2], on = 1;
    struct sockaddr_in at = v4("127.0.0.1", port);
    for (int i = 0; i < 2; i++) {
        workers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        setsockopt(workers[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        SAY(setsockopt(workers[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
        SAY(bind(workers[i], ADDRESS(at)));
        SAY(listen(workers[i], 64));
    }
    int served = 0, clients[40];
    for (int i = 0; i < 40; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        must(connect(clients[i], ADDRESS(at)), "connect");
        must(write(clients[i], "ping", 4), "write");
        shutdown(clients[i], SHUT_WR);
    }
    for (int i = 0; i < 2; i++) {
        int fd;
        while ((fd = accept(workers[i], NULL, NULL)) >= 0) {
            char text[8];
            served += read(fd, text, 8) == 4 && memcmp(text, "ping", 4) == 0;
            close(fd);
        }
    }
    say("served %d", served);
}

static void fast_open(void) {
    struct echo echo = {.fd = listener(), .clients = 4};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    char text[16] = "";
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    SAY(sendto(fd, "hello", 5, MSG_FASTOPEN, ADDRESS(to)));
    SAY(recv(fd, text, 5, MSG_WAITALL));
    talk(fd);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct iovec part = {"hello", 5};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
    SAY(sendmsg(fd, &message, MSG_FASTOPEN));
    SAY(recv(fd, text, 5, MSG_WAITALL));
    message.msg_name = NULL, message.msg_namelen = 0;
    SAY(sendmsg(fd, &message, 0));
    SAY(recv(fd, text, 5, MSG_WAITALL));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on));
    SAY(connect(fd, ADDRESS(to)));
    talk(fd);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on));
    SAY(connect(fd, ADDRESS(to)));
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    SAY(poll(&ready, 1, 5000));
    say_errors(fd);
    fcntl(fd, F_SETFL, 0);
    talk(fd);
    close(fd);
    echo_end(&echo);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in none = v4("127.0.0.1", closed_port);
    SAY(sendto(fd, "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL, ADDRESS(none)));
    close(fd);
}

static void fast_open_nonblocking(void) {
    struct echo echo = {.fd = listener(), .clients = 1};
    echo_start(&echo);
    struct sockaddr_in to = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(sendto(fd, "hello", 5, MSG_FASTOPEN, ADDRESS(to)));
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    SAY(poll(&ready, 1, 5000));
    say_errors(fd);
    fcntl(fd, F_SETFL, 0);
    talk(fd);
    close(fd);
    echo_end(&echo);
}

static void *blocked_accept(void *service) { return (void *)(long)accept(*(int *)service, NULL, NULL); }
static void *blocked_connect(void *unused) {
    (void)unused;
    struct sockaddr_in to = v4("127.0.0.1", port);
    return (void *)(long)connect(socket(AF_INET, SOCK_STREAM, 0), ADDRESS(to));
}

static void cancelled(void) {
    int filler, service = full(&filler), quiet = socket(AF_INET, SOCK_STREAM, 0);
    listen(quiet, 1);
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, blocked_accept, &quiet);
    usleep(100000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    say("accept %s", result == PTHREAD_CANCELED ? "cancelled" : "went on");
    pthread_create(&thread, NULL, blocked_connect, NULL);
    usleep(100000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    say("connect %s", result == PTHREAD_CANCELED ? "cancelled" : "went on");
    close(service);
}

/* Calls to a server outside this program, at 10.99.0.2. */
static void outside(int type, int times) {
    struct sockaddr_in to = v4("10.99.0.2", port);
    for (int i = 0; i < times; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | type, 0);
        SAY(connect(fd, ADDRESS(to)));
        if (type) {
            struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
            SAY(poll(&ready, 1, 5000));
            say("events %#x", ready.revents);
            say_errors(fd);
            SAY(connect(fd, ADDRESS(to)));
            SAY(connect(fd, ADDRESS(to)));
            fcntl(fd, F_SETFL, 0);
        } else {
            say_errors(fd);
            SAY(connect(fd, ADDRESS(to)));
        }
        say_peer(fd);
        talk(fd);
        if (times > 1) sleep(1), usleep(300000);
        close(fd);
    }
    struct sockaddr_in none = v4("10.99.0.2", closed_port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect(fd, ADDRESS(none)));
    close(fd);
}

static void outside_blocking(void) { outside(0, 1); }
static void outside_nonblocking(void) { outside(SOCK_NONBLOCK, 1); }
static void outside_blocking_again(void) { outside(0, 4); }
static void outside_nonblocking_again(void) { outside(SOCK_NONBLOCK, 5); }

/* A caller that is no member (from another local address) and resets before it is accepted. */
static void reset_by_outsider(void) {
    int service = listener();
    struct sockaddr_in to = v4("127.0.0.1", port), from = v4("127.0.0.9", 0);
    for (int quiet = 0; quiet < 2; quiet++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        must(bind(fd, ADDRESS(from)), "bind");
        syscall(SYS_connect /* past the library */, fd, ADDRESS(to));
        if (!quiet) write(fd, "words", 5);
        struct linger linger = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(fd);
        int other = SAY_SIGN(accept(service, NULL, NULL));
        struct pollfd ready = {.fd = other, .events = POLLIN | POLLOUT};
        SAY(poll(&ready, 1, 5000));
        say("events %#x", ready.revents);
        say_stream("server", other);
        close(other);
    }
    close(service);
}

static void caller_only(void) { one_call("executed"); }

#define SCENARIO(name) {#name, name}
static const struct { const char *name; void (*run)(void); } scenarios[] = {
    SCENARIO(blocking), SCENARIO(nonblocking), SCENARIO(select_loop), SCENARIO(refused), SCENARIO(refused_nonblocking),
    SCENARIO(epoll_edges), SCENARIO(server_first), SCENARIO(half_close), SCENARIO(accept_forms), SCENARIO(odd_calls),
    SCENARIO(families_v4), SCENARIO(families_dual), SCENARIO(families_mptcp), SCENARIO(mptcp_nonblocking),
    SCENARIO(mixed_mptcp), SCENARIO(signals_restart), SCENARIO(signals_interrupt), SCENARIO(accept_interrupted),
    SCENARIO(time_outs), SCENARIO(vanished), SCENARIO(processes), SCENARIO(threads), SCENARIO(reuse_port),
    SCENARIO(fast_open), SCENARIO(fast_open_nonblocking), SCENARIO(cancelled), SCENARIO(reset_by_outsider),
    SCENARIO(outside_blocking), SCENARIO(outside_nonblocking), SCENARIO(outside_blocking_again),
    SCENARIO(outside_nonblocking_again), {"one_call", caller_only},
};

int main(int count, char **arguments) {
    if (count != 4) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_DFL);
    alarm(30);
    self = arguments[0];
    port = atoi(arguments[2]);
    closed_port = atoi(arguments[3]);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(scenarios[i].name, arguments[1]) == 0) {
            scenarios[i].run();
            return 0;
        }
    }
    return 2;
}
