// A server of com.sun.net.httpserver: its version, who asks, an echo.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Server {
    public static void main(String[] arguments) throws Exception {
        String host = System.getenv("HOST");
        HttpServer server = HttpServer.create(new InetSocketAddress(host, Integer.parseInt(System.getenv("PORT"))), 128);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", Server::answer);
        server.start();
    }

    static void answer(HttpExchange exchange) throws java.io.IOException {
        InetSocketAddress peer = exchange.getRemoteAddress();
        byte[] body;
        int status = 200;
        switch (exchange.getRequestURI().getPath()) {
            case "/" -> body = ("version " + System.getenv("VERSION") + "\n").getBytes();
            case "/peer" -> body = (peer.getAddress().getHostAddress() + " " + peer.getPort() + "\n").getBytes();
            case "/echo" -> body = exchange.getRequestBody().readAllBytes();
            default -> {
                status = 404;
                body = "missing\n".getBytes();
            }
        }
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
