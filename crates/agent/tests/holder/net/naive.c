// A program that calls the kernel without libc's functions: each part does one thing and prints what it saw. Built as a static one.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int port;

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void rest(int ms) { struct timespec t = {ms / 1000, ms % 1000 * 1000000}; while (nanosleep(&t, &t) && errno == EINTR); }

static struct sockaddr_in here(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static int k_connect(int fd, void *at, int length) { return syscall(SYS_connect, fd, at, length); }
static int k_accept(int fd, void *at, void *length) { return syscall(SYS_accept, fd, at, length); }
static int k_accept4(int fd, void *at, void *length, int flags) { return syscall(SYS_accept4, fd, at, length, flags); }

static const char *said(int result) { return result < 0 ? strerror(errno) : "fine"; }

static int listener(int flags, int backlog) {
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    struct sockaddr_in at = here();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (syscall(SYS_bind, fd, &at, sizeof at)) printf("bind: %s\n", strerror(errno));
    if (syscall(SYS_listen, fd, backlog)) printf("listen: %s\n", strerror(errno));
    return fd;
}

static int caller(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = here();
    if (k_connect(fd, &at, sizeof at)) { printf("connect: %s\n", strerror(errno)); return -1; }
    return fd;
}

static void say(int fd, const char *text) { if (write(fd, text, strlen(text)) < 0) printf("write: %s\n", strerror(errno)); }

static const char *hear(int fd) {
    static _Thread_local char text[256];
    ssize_t count;
    do count = read(fd, text, sizeof text - 1); while (count < 0 && errno == EINTR);
    if (count < 0) return strerror(errno);
    text[count] = 0;
    return text;
}

// One call of itself: who is shown, what comes first, which flags the connection has.
static void call(int flags) {
    int at_listener = listener(0, 8);
    pid_t child = fork();
    if (!child) {
        int fd = caller();
        say(fd, "hello");
        struct sockaddr_in peer; socklen_t length = sizeof peer;
        syscall(SYS_getpeername, fd, &peer, &length);
        const char *answer = hear(fd);
        printf("peer port is the listener's: %d\n", ntohs(peer.sin_port) == port);
        printf("answer: %s\n", answer);
        _exit(0);
    }
    struct sockaddr_in from; socklen_t length = sizeof from;
    int fd = flags < 0 ? k_accept(at_listener, &from, &length) : k_accept4(at_listener, &from, &length, flags);
    printf("accepted: %d, %d bytes of address, family %d, from %s\n", fd >= 0, length, from.sin_family, inet_ntoa(from.sin_addr));
    printf("nonblocking %d, close-on-exec %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK), fcntl(fd, F_GETFD));
    fcntl(fd, F_SETFL, 0);
    printf("first bytes: %s\n", hear(fd));
    say(fd, "bye");
    close(fd);
    waitpid(child, 0, 0);
    close(at_listener);
}

static void nonblocking(void) {
    int at_listener = listener(SOCK_NONBLOCK, 8);
    printf("empty: %s\n", said(k_accept(at_listener, 0, 0)));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = here();
    int first = k_connect(fd, &at, sizeof at);
    printf("connect: %d %s\n", first, strerror(errno));
    struct pollfd wait = {fd, POLLOUT, 0};
    poll(&wait, 1, 5000);
    int error; socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    printf("then: %d\n", error);
    printf("second: %d\n", k_connect(fd, &at, sizeof at));
    printf("third: %s\n", said(k_connect(fd, &at, sizeof at)));
    say(fd, "hello");
    wait = (struct pollfd){at_listener, POLLIN, 0};
    poll(&wait, 1, 5000);
    int new = k_accept4(at_listener, 0, 0, SOCK_NONBLOCK);
    wait = (struct pollfd){new, POLLIN, 0};
    poll(&wait, 1, 5000);
    printf("first bytes: %s\n", hear(new));
    printf("empty again: %s\n", said(k_accept(at_listener, 0, 0)));
    close(at_listener);
    close(fd);
    close(new);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    first = k_connect(fd, &at, sizeof at);
    int refused = errno;
    if (first && refused == EINPROGRESS) {
        wait = (struct pollfd){fd, POLLOUT, 0};
        poll(&wait, 1, 5000);
        length = sizeof refused;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &refused, &length);
    }
    printf("closed: %s\n", strerror(refused));
}

static void errors(void) {
    struct sockaddr_in at = here();
    socklen_t length = sizeof at;
    printf("no descriptor: %s\n", said(k_accept(99, 0, 0)));
    printf("no socket: %s\n", said(k_connect(1, &at, sizeof at)));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    printf("not listening: %s\n", said(k_accept(fd, 0, 0)));
    printf("bad address: %s\n", said(k_connect(fd, (void *)1, sizeof at)));
    printf("short address: %s\n", said(k_connect(fd, &at, 3)));
    printf("long address: %s\n", said(k_connect(fd, &at, 4096)));
    printf("refused: %s\n", said(k_connect(fd, &at, sizeof at)));
    int at_listener = listener(0, 8), other = caller();
    printf("bad place: %s\n", said(k_accept(at_listener, (void *)1, &length)));
    close(other);
    other = caller();
    struct sockaddr_in cut; length = 4;
    int new = k_accept(at_listener, &cut, &length);
    printf("little room: %d, family %d, whole length %d\n", new >= 0, cut.sin_family, length);
    printf("connected: %s\n", said(k_connect(other, &at, sizeof at)));
    printf("listens: %s\n", said(k_connect(at_listener, &at, sizeof at)));
}

static void nothing(int signal) { (void)signal; }

static void catch(int flags) {
    struct sigaction action = {.sa_handler = nothing, .sa_flags = flags};
    sigaction(SIGALRM, &action, 0);
}

static void every(int us) {
    struct itimerval timer = {{us / 1000000, us % 1000000}, {us / 1000000, us % 1000000}};
    setitimer(ITIMER_REAL, &timer, 0);
}

// A blocking accept and a signal: interrupted, or gone on with.
static void interrupted(void) {
    int at_listener = listener(0, 8);
    catch(0);
    every(100000);
    long begun = now_ms();
    int fd = k_accept(at_listener, 0, 0);
    printf("without SA_RESTART: %d %s, soon %d\n", fd, strerror(errno), now_ms() - begun < 2000);
    catch(SA_RESTART);
    if (!fork()) {
        every(0);
        rest(400);
        int other = caller();
        say(other, "late");
        hear(other);
        _exit(0);
    }
    fd = k_accept(at_listener, 0, 0);
    every(0);
    printf("with SA_RESTART: %d\n", fd >= 0);
    printf("first bytes: %s\n", hear(fd));
    close(fd);
    wait(0);
}

// Connects and accepts under a storm of signals, as Go's scheduler sends them: none lost, none twice, none with anything before its data.
static void *storm_server(void *data) {
    int at_listener = *(int *)data, bad = 0;
    for (int i = 0; i < 500; i++) {
        int fd = k_accept(at_listener, 0, 0);
        if (fd < 0) { if (errno == EINTR) { i--; continue; } printf("accept: %s\n", strerror(errno)); break; }
        if (strcmp(hear(fd), "storm")) bad++;
        say(fd, "done");
        close(fd);
    }
    printf("wrong first bytes: %d\n", bad);
    return 0;
}

static void storm(void) {
    int at_listener = listener(0, 64), bad = 0;
    catch(SA_RESTART);
    pthread_t server;
    pthread_create(&server, 0, storm_server, &at_listener);
    every(300);
    struct sockaddr_in at = here();
    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | (i % 2 ? SOCK_NONBLOCK : 0), 0);
        int done = k_connect(fd, &at, sizeof at);
        if (done && errno != EINPROGRESS) printf("%d: connect: %s\n", i, strerror(errno));
        if (done) {
            struct pollfd wait = {fd, POLLOUT, 0};
            while (poll(&wait, 1, 5000) < 0);
            fcntl(fd, F_SETFL, 0);
        }
        say(fd, "storm");
        if (strcmp(hear(fd), "done")) bad++;
        close(fd);
    }
    every(0);
    pthread_join(server, 0);
    printf("wrong answers: %d\n", bad);
}

// Somebody who waits in accept is ended by signals like anybody else, and his port is free at once.
static void killed(void) {
    int signals[] = {SIGTERM, SIGKILL};
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (!child) { k_accept(listener(0, 8), 0, 0); _exit(1); }
        rest(200);
        kill(child, signals[i]);
        int status;
        long begun = now_ms();
        waitpid(child, &status, 0);
        printf("ended by %d, soon %d\n", WTERMSIG(status), now_ms() - begun < 1000);
        int again = listener(0, 8);
        close(again);
    }
}

static void *accept_once(void *data) {
    int fd = k_accept(*(int *)data, 0, 0);
    if (fd < 0) printf("accept: %s\n", strerror(errno));
    else { say(fd, hear(fd)); close(fd); }
    return 0;
}

// Several threads wait at one listener; then shutdown ends another's wait.
static void threads(void) {
    int at_listener = listener(0, 64);
    pthread_t workers[8];
    for (int i = 0; i < 8; i++) pthread_create(&workers[i], 0, accept_once, &at_listener);
    rest(100);
    int good = 0;
    for (int i = 0; i < 8; i++) {
        int fd = caller();
        say(fd, "each");
        good += !strcmp(hear(fd), "each");
        close(fd);
    }
    for (int i = 0; i < 8; i++) pthread_join(workers[i], 0);
    printf("answered: %d\n", good);
    pthread_create(&workers[0], 0, accept_once, &at_listener);
    rest(100);
    shutdown(at_listener, SHUT_RDWR);
    pthread_join(workers[0], 0);
}

// Processes that share a listener.
static void forked(void) {
    int at_listener = listener(0, 64), good = 0;
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        if (!(children[i] = fork())) for (;;) accept_once(&at_listener);
    for (int i = 0; i < 40; i++) {
        int fd = caller();
        say(fd, "shared");
        good += !strcmp(hear(fd), "shared");
        close(fd);
    }
    for (int i = 0; i < 4; i++) { kill(children[i], SIGTERM); waitpid(children[i], 0, 0); }
    printf("answered: %d\n", good);
    close(at_listener);
    listener(0, 8);
}

static void limits(void) {
    int at_listener = listener(0, 8);
    struct timeval limit = {0, 200000};
    setsockopt(at_listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    long begun = now_ms();
    int fd = k_accept(at_listener, 0, 0);
    long took = now_ms() - begun;
    printf("limited accept: %d %s, in time %d\n", fd, strerror(errno), took >= 190 && took < 1000);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(other, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    struct sockaddr_in at = here();
    printf("limited connect: %d\n", k_connect(other, &at, sizeof at));
    say(other, "limited");
    fd = k_accept(at_listener, 0, 0);
    printf("first bytes: %s\n", hear(fd));
}

// Sockets that are not of the internet.
static void local(void) {
    int at_listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "/tmp/naive-%d", getpid());
    printf("bind %ld, ", syscall(SYS_bind, at_listener, &at, sizeof at));
    printf("listen %ld, ", syscall(SYS_listen, at_listener, 8));
    printf("connect %d, ", k_connect(fd, &at, sizeof at));
    int new = k_accept(at_listener, 0, 0);
    struct ucred who; socklen_t length = sizeof who;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length);
    printf("accept %d, listener is itself %d\n", new >= 0, who.pid == getpid());
    unlink(at.sun_path);
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = here();
    printf("datagrams: connect %d\n", k_connect(datagrams, &to, sizeof to));
}

// Calls of a 32-bit program, which a 64-bit one can make as well.
static void foreign(void) {
#ifdef __x86_64__
    int pid, connected, sockets;
    __asm__ volatile("int $0x80" : "=a"(pid) : "a"(20));
    __asm__ volatile("int $0x80" : "=a"(connected) : "a"(362), "b"(-1), "c"(0), "d"(0));
    __asm__ volatile("int $0x80" : "=a"(sockets) : "a"(102), "b"(1), "c"(0));
    printf("own number %d, connect %d, sockets %d\n", pid == getpid(), connected, sockets);
#endif
}

int main(int count, char **words) {
    setvbuf(stdout, 0, _IOLBF, 0);
    if (count < 3) return 2;
    const char *part = words[1];
    port = atoi(words[2]);
    alarm(0);
    if (!strcmp(part, "call")) { call(-1); call(SOCK_NONBLOCK | SOCK_CLOEXEC); call(0); }
    else if (!strcmp(part, "nonblocking")) nonblocking();
    else if (!strcmp(part, "errors")) errors();
    else if (!strcmp(part, "interrupted")) interrupted();
    else if (!strcmp(part, "storm")) storm();
    else if (!strcmp(part, "killed")) killed();
    else if (!strcmp(part, "threads")) threads();
    else if (!strcmp(part, "forked")) forked();
    else if (!strcmp(part, "limits")) limits();
    else if (!strcmp(part, "local")) local();
    else if (!strcmp(part, "foreign")) foreign();
    else return 2;
    puts("end");
    return 0;
}
