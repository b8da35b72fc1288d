/* One connection within one thread, accepted after it was made, and a hundred questions and answers on it. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int on = 1, service = socket(AF_INET, SOCK_STREAM, 0), caller = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr = {htonl(0x7F000001)}};
    setsockopt(service, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(service, (void *)&at, sizeof at) || listen(service, 8) || connect(caller, (void *)&at, sizeof at)) return 1;
    int server = accept(service, NULL, NULL);
    char text[16];
    for (int i = 0; i < 100; i++) {
        if (write(caller, "question", 8) != 8 || read(server, text, sizeof text) != 8) return 2;
        if (send(server, "answer", 6, 0) != 6 || recv(caller, text, sizeof text, 0) != 6) return 3;
    }
    close(caller);
    close(server);
    return argc != 4;
}
