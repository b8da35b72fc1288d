"""Reads a target of a repository with python-tuf's client over HTTP: FOLDER ROOT TARGET."""

import functools
import http.server
import pathlib
import sys
import tempfile
import threading

from tuf.ngclient import Updater

folder, root, target = sys.argv[1:]


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
with tempfile.TemporaryDirectory() as kept:
    updater = Updater(
        metadata_dir=kept,
        metadata_base_url=f"{base}/metadata/",
        target_dir=kept,
        target_base_url=f"{base}/targets/",
        bootstrap=pathlib.Path(root).read_bytes(),
    )
    updater.refresh()
    found = updater.get_targetinfo(target)
    text = pathlib.Path(updater.download_target(found)).read_text()
    version = updater._trusted_set.root.version
    print(f"root {version}: {text}")
