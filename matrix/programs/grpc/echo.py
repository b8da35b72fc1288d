"""A gRPC server that tells its version, who asks, and echoes; and its client, which needs no generated code."""
import os, re, sys
from concurrent.futures import ThreadPoolExecutor
import grpc

at = f"{os.environ['HOST']}:{os.environ['PORT']}"


class Service(grpc.GenericRpcHandler):
    def service(self, details):
        answers = {
            "/matrix/version": lambda words, context: os.environ["VERSION"].encode(),
            "/matrix/peer": lambda words, context: context.peer().encode(),
            "/matrix/echo": lambda words, context: words,
        }
        answer = answers.get(details.method)
        return answer and grpc.unary_unary_rpc_method_handler(answer)


if sys.argv[1] == "serve":
    server = grpc.server(ThreadPoolExecutor(8), handlers=[Service()], options=[("grpc.so_reuseport", 0)])
    server.add_insecure_port(at)
    server.start()
    server.wait_for_termination()
elif sys.argv[1] == "probe":
    with grpc.insecure_channel(at) as channel:
        channel.unary_unary("/matrix/echo")(b"well", timeout=2)
else:
    for _ in range(3):
        with grpc.insecure_channel(at) as channel:
            for method in ("version", "peer", "echo", "missing"):
                try:
                    answer = channel.unary_unary(f"/matrix/{method}")(b"x" * 100000, timeout=20)
                    print(method, len(answer) if len(answer) > 1000 else re.sub(rb":\d+$", b"", answer).decode())
                except grpc.RpcError as error:
                    print(method, error.code(), error.details())
