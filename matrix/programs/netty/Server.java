// A server on Netty's NIO transport: its version, who asks, an echo.
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.*;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.*;
import java.net.InetSocketAddress;

public class Server extends SimpleChannelInboundHandler<FullHttpRequest> {
    public static void main(String[] arguments) throws Exception {
        ServerBootstrap server = new ServerBootstrap()
            .group(new NioEventLoopGroup(1), new NioEventLoopGroup(2))
            .channel(NioServerSocketChannel.class)
            .childHandler(new ChannelInitializer<SocketChannel>() {
                @Override
                protected void initChannel(SocketChannel channel) {
                    channel.pipeline().addLast(new HttpServerCodec(), new HttpObjectAggregator(65536), new Server());
                }
            });
        server.bind(System.getenv("HOST"), Integer.parseInt(System.getenv("PORT"))).sync().channel().closeFuture().sync();
    }

    @Override
    protected void channelRead0(ChannelHandlerContext context, FullHttpRequest request) {
        InetSocketAddress peer = (InetSocketAddress) context.channel().remoteAddress();
        HttpResponseStatus status = HttpResponseStatus.OK;
        ByteBuf body;
        switch (request.uri()) {
            case "/" -> body = text("version " + System.getenv("VERSION") + "\n");
            case "/peer" -> body = text(peer.getAddress().getHostAddress() + " " + peer.getPort() + "\n");
            case "/echo" -> body = request.content().retain();
            default -> {
                status = HttpResponseStatus.NOT_FOUND;
                body = text("missing\n");
            }
        }
        FullHttpResponse answer = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, status, body);
        answer.headers().set(HttpHeaderNames.CONTENT_LENGTH, body.readableBytes());
        ChannelFuture written = context.writeAndFlush(answer);
        if (!HttpUtil.isKeepAlive(request)) written.addListener(ChannelFutureListener.CLOSE);
    }

    static ByteBuf text(String text) {
        return Unpooled.copiedBuffer(text.getBytes());
    }
}
