"""gRPC without generated code: `serve HOST PORT`, or `call HOST PORT` for unary calls and a stream."""
import sys
from concurrent import futures

import grpc

TARGET = f"{sys.argv[2]}:{sys.argv[3]}" if ":" not in sys.argv[2] else f"[{sys.argv[2]}]:{sys.argv[3]}"
BYTES = {"request_deserializer": None, "response_serializer": None}


class Handlers(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/echo/one":
            return grpc.unary_unary_rpc_method_handler(lambda request, _: request[::-1])
        if details.method == "/echo/many":
            return grpc.unary_stream_rpc_method_handler(lambda request, _: (request for _ in range(50)))
        return None


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(TARGET)
    server.start()
    server.wait_for_termination()


def call():
    right = streamed = 0
    for number in range(10):
        # A connection each: channels to one target share theirs unless told not to.
        with grpc.insecure_channel(TARGET, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            one, many = channel.unary_unary("/echo/one"), channel.unary_stream("/echo/many")
            for turn in range(20):
                question = f"{number} {turn}".encode()
                right += one(question, timeout=20, wait_for_ready=True) == question[::-1]
            streamed += sum(answer == b"again" for answer in many(b"again", timeout=20))
            try:
                channel.unary_unary("/echo/none")(b"", timeout=20)
            except grpc.RpcError as error:
                refused = error.code().name
    print(f"right {right} streamed {streamed} refused {refused}")


serve() if sys.argv[1] == "serve" else call()
