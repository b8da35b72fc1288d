// A server on Jetty: its version, who asks, an echo.
import java.net.InetSocketAddress;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.handler.AbstractHandler;

public class Server extends AbstractHandler {
    public static void main(String[] arguments) throws Exception {
        InetSocketAddress at = new InetSocketAddress(System.getenv("HOST"), Integer.parseInt(System.getenv("PORT")));
        org.eclipse.jetty.server.Server server = new org.eclipse.jetty.server.Server(at);
        server.setHandler(new Server());
        server.setStopAtShutdown(true);
        server.start();
        server.join();
    }

    @Override
    public void handle(String target, Request base, HttpServletRequest request, HttpServletResponse response)
            throws java.io.IOException {
        base.setHandled(true);
        switch (target) {
            case "/" -> response.getOutputStream().print("version " + System.getenv("VERSION") + "\n");
            case "/peer" -> response.getOutputStream().print(request.getRemoteAddr() + " " + request.getRemotePort() + "\n");
            case "/echo" -> response.getOutputStream().write(request.getInputStream().readAllBytes());
            default -> {
                response.setStatus(404);
                response.getOutputStream().print("missing\n");
            }
        }
    }
}
