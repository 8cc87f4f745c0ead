// An echo by Netty: with the handler for compression as it is by default, or, if the argument is
// "alone", with one that agrees to do without context takeover.
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.*;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.*;
import io.netty.handler.codec.http.websocketx.*;
import io.netty.handler.codec.http.websocketx.extensions.WebSocketServerExtensionHandler;
import io.netty.handler.codec.http.websocketx.extensions.compression.*;
import io.netty.util.Version;
import java.net.InetSocketAddress;

public class Netty {
    static final int MOST = 16 << 20;

    static ChannelHandler compression(boolean alone) {
        if (!alone) return new WebSocketServerCompressionHandler();
        return new WebSocketServerExtensionHandler(
            new PerMessageDeflateServerExtensionHandshaker(6, true, 15, true, true));
    }

    public static void main(String[] args) throws Exception {
        boolean alone = args.length > 0 && args[0].equals("alone");
        EventLoopGroup group = new NioEventLoopGroup(1);
        Channel listener = new ServerBootstrap().group(group).channel(NioServerSocketChannel.class)
            .childHandler(new ChannelInitializer<Channel>() {
                @Override
                protected void initChannel(Channel channel) {
                    channel.pipeline().addLast(
                        new HttpServerCodec(), new HttpObjectAggregator(65536), compression(alone),
                        new WebSocketServerProtocolHandler("/", null, true, MOST, false, true),
                        new WebSocketFrameAggregator(MOST), new Echo());
                }
            }).bind(new InetSocketAddress("127.0.0.1", 0)).sync().channel();
        int port = ((InetSocketAddress) listener.localAddress()).getPort();
        System.out.println("Netty " + Version.identify().get("netty-common").artifactVersion());
        System.out.println("listening on 127.0.0.1:" + port);
        listener.closeFuture().sync();
    }

    static class Echo extends SimpleChannelInboundHandler<WebSocketFrame> {
        @Override
        protected void channelRead0(ChannelHandlerContext context, WebSocketFrame frame) {
            context.writeAndFlush(frame.retain());
        }
    }
}
