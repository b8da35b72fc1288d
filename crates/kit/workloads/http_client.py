"""Fetches a file of `http.server` 60 times, by urllib (a connection each) and by http.client (kept alive where it is)."""
import http.client
import sys
import urllib.request

host, port = sys.argv[1], int(sys.argv[2])
name = f"[{host}]" if ":" in host else host
bodies = [urllib.request.urlopen(f"http://{name}:{port}/file", timeout=20).read() for _ in range(40)]
line = http.client.HTTPConnection(host, port, timeout=20)
for _ in range(20):
    line.request("GET", "/file")
    bodies.append(line.getresponse().read())
print(f"bodies {len(bodies)}, different {len(set(bodies))}, bytes {sum(map(len, bodies))}")
try:
    urllib.request.urlopen(f"http://{name}:{port}/missing", timeout=20)
except urllib.error.HTTPError as error:
    print(f"missing {error.code}")
