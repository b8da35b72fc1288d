/* An unmodified server: echoes what each connection says, and prints whom it believes to serve.
 *
 * usage: server edge PORT COUNT        edge-triggered epoll, ends when COUNT connections have ended
 *        server blocking PORT COUNT    COUNT results of a blocking accept
 *        server burst PORT 0           answers what its own interface says, for ever
 *        server steps PORT COUNT       as blocking, but one accept for each line on standard input
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *text_of(struct sockaddr_storage *address) {
    static char text[80];
    char ip[64] = "?";
    int port = 0;
    if (address->ss_family == AF_INET) {
        struct sockaddr_in *four = (void *)address;
        inet_ntop(AF_INET, &four->sin_addr, ip, sizeof ip), port = ntohs(four->sin_port);
    } else {
        struct sockaddr_in6 *six = (void *)address;
        inet_ntop(AF_INET6, &six->sin6_addr, ip, sizeof ip), port = ntohs(six->sin6_port);
    }
    snprintf(text, sizeof text, "%s %d", ip, port);
    return text;
}

static int accept_one(int listener, int flags) {
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    int fd = accept4(listener, (struct sockaddr *)&from, &length, flags);
    if (fd < 0) {
        if (errno != EAGAIN) printf("accept %s\n", strerrorname_np(errno));
        return fd;
    }
    printf("accept %s\n", text_of(&from));
    length = sizeof from;
    if (getpeername(fd, (struct sockaddr *)&from, &length) < 0)
        printf("getpeername %s\n", strerrorname_np(errno));
    else
        printf("getpeername %s\n", text_of(&from));
    printf("nonblocking %d\n", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    return fd;
}

static int echo(int fd) {
    char text[4096];
    ssize_t got = read(fd, text, sizeof text);
    if (got > 0) write(fd, text, got);
    if (got == 0) printf("read the end\n");
    if (got < 0 && errno != EAGAIN) printf("read %s\n", strerrorname_np(errno));
    return got > 0;
}

static void edge(int listener, int count) {
    fcntl(listener, F_SETFL, O_NONBLOCK);
    int set = epoll_create1(0), ended = 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = listener};
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
    while (ended < count) {
        if (epoll_wait(set, &event, 1, -1) < 1) continue;
        if (event.data.fd != listener) {
            if (!echo(event.data.fd)) close(event.data.fd), ended++;
            continue;
        }
        for (int fd; (fd = accept_one(listener, SOCK_NONBLOCK)) >= 0;) {
            event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
        }
    }
}

static void blocking(int listener, int count, int steps) {
    char line[16];
    for (int i = 0; i < count; i++) {
        if (steps && !fgets(line, sizeof line, stdin)) return;
        int fd = accept_one(listener, 0);
        if (fd < 0) continue;
        while (echo(fd)) {}
        close(fd);
    }
}

/* Answers every caller of its own interface; a label, or a call of another, must never come. */
static void *answer(void *argument) {
    char text[100];
    int fd = (int)(intptr_t)argument;
    ssize_t got = recv(fd, text, sizeof text, 0);
    if (got == 4 && memcmp(text, "same", 4) == 0) send(fd, "S", 1, MSG_NOSIGNAL);
    else if (got > 0) printf("must never come: %zd bytes, %d\n", got, text[0]);
    close(fd);
    return NULL;
}

/* Slow at accepting, so that its queue overflows; a caller whose packets are lost holds up nobody else. */
static void burst(int listener) {
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        if (pthread_create(&thread, NULL, answer, (void *)(intptr_t)fd)) close(fd);
        else pthread_detach(thread);
        usleep(200);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int port = atoi(argv[2]), count = atoi(argv[3]), on = 1, off = 0;
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, strcmp(argv[1], "burst") ? 128 : 16)) {
        printf("cannot listen %s\n", strerrorname_np(errno));
        return 1;
    }
    int reuseport = -1;
    socklen_t length = sizeof reuseport;
    getsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &reuseport, &length);
    printf("flags %#x %#x reuseport %d\n", fcntl(listener, F_GETFL), fcntl(listener, F_GETFD), reuseport);
    if (strcmp(argv[1], "burst") == 0) burst(listener);
    if (strcmp(argv[1], "edge") == 0) edge(listener, count);
    else blocking(listener, count, strcmp(argv[1], "steps") == 0);
    printf("done\n");
    return 0;
}
