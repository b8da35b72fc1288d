// A server in C around one way to wait: its version, and who asks. Everything is as plain as it gets.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void serve(int connection, struct sockaddr_in *peer) {
    char request[4096], answer[256], host[INET_ADDRSTRLEN];
    ssize_t got = 0, more;
    fcntl(connection, F_SETFL, fcntl(connection, F_GETFL) & ~O_NONBLOCK);
    do {
        more = read(connection, request + got, sizeof request - 1 - got);
        got += more > 0 ? more : 0;
        request[got] = 0;
    } while (more > 0 && !strstr(request, "\r\n\r\n"));
    if (got > 0) {
        inet_ntop(AF_INET, &peer->sin_addr, host, sizeof host);
        int length = strstr(request, "/peer")
            ? snprintf(answer, sizeof answer, "HTTP/1.0 200 OK\r\n\r\n%s %d\n", host, ntohs(peer->sin_port))
            : snprintf(answer, sizeof answer, "HTTP/1.0 200 OK\r\n\r\nversion %s\n", getenv("VERSION"));
        write(connection, answer, length);
    }
    close(connection);
}

// Accepts one; 0 when there is none after all. Anything else that goes wrong ends the program.
static int take(void) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int connection = accept(listener, (struct sockaddr *)&peer, &length);
    if (connection < 0) {
        if (errno == EAGAIN || errno == EINTR) return 0;
        fail("accept");
    }
    serve(connection, &peer);
    return 1;
}

static void *accept_for_ever(void *nothing) {
    for (;;) take();
    return nothing;
}

static void wait_by_poll(void) {
    struct pollfd one = {.fd = listener, .events = POLLIN};
    if (poll(&one, 1, -1) < 0) fail("poll");
    if (one.revents & ~POLLIN) fprintf(stderr, "poll says %#x\n", one.revents);
    take();
}

static void wait_by_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(listener, &set);
    if (select(listener + 1, &set, NULL, NULL, NULL) < 0) fail("select");
    take();
}

static void by_epoll(int flags) {
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | flags};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) < 0) fail("epoll_wait");
        if (event.events & ~EPOLLIN) fprintf(stderr, "epoll says %#x\n", event.events);
        while (take() && flags) {}
    }
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "poll";
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
    int one = 1, blocks = !strcmp(how, "threads");
    inet_pton(AF_INET, getenv("HOST"), &at.sin_addr);
    listener = socket(AF_INET, SOCK_STREAM | (blocks ? 0 : SOCK_NONBLOCK), 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0) fail("bind");
    if (listen(listener, 64) < 0) fail("listen");
    if (!strcmp(how, "epoll")) by_epoll(0);
    if (!strcmp(how, "epoll-edge")) by_epoll(EPOLLET);
    for (int number = 0; blocks && number < 3; number++) {
        pthread_t thread;
        pthread_create(&thread, NULL, accept_for_ever, NULL);
    }
    for (;;) blocks ? (void)take() : !strcmp(how, "select") ? wait_by_select() : wait_by_poll();
}
