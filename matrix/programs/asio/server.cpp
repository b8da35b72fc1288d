// An Asio server of HTTP/1.0: its version, and who asks.
#include <asio.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>

using asio::ip::tcp;

struct Session : std::enable_shared_from_this<Session> {
    tcp::socket socket;
    asio::streambuf request;
    std::string answer;

    explicit Session(tcp::socket accepted) : socket(std::move(accepted)) {}

    void serve() {
        auto self = shared_from_this();
        asio::async_read_until(socket, request, "\r\n\r\n", [this, self](std::error_code error, std::size_t) {
            if (error) return;
            std::string path;
            std::istream(&request) >> path >> path;
            auto peer = socket.remote_endpoint();
            answer = "HTTP/1.0 200 OK\r\n\r\n";
            answer += path == "/peer" ? peer.address().to_string() + " " + std::to_string(peer.port())
                                      : std::string("version ") + std::getenv("VERSION");
            answer += "\n";
            asio::async_write(socket, asio::buffer(answer), [this, self](std::error_code ignored, std::size_t) {
                socket.shutdown(tcp::socket::shutdown_send, ignored);
            });
        });
    }
};

void accept(tcp::acceptor &acceptor) {
    acceptor.async_accept([&acceptor](std::error_code error, tcp::socket socket) {
        if (!error) std::make_shared<Session>(std::move(socket))->serve();
        accept(acceptor);
    });
}

int main() {
    asio::io_context context;
    tcp::endpoint at(asio::ip::make_address(std::getenv("HOST")), static_cast<unsigned short>(std::atoi(std::getenv("PORT"))));
    tcp::acceptor acceptor(context, at);
    asio::signal_set signals(context, SIGTERM);
    signals.async_wait([&](std::error_code, int) { context.stop(); });
    accept(acceptor);
    context.run();
}
