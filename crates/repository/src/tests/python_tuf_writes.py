"""Writes a repository of Upstart with python-tuf: FOLDER."""

import datetime
import hashlib
import json
import pathlib
import sys

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

folder = pathlib.Path(sys.argv[1])
(folder / "metadata").mkdir(parents=True)
(folder / "targets/upgrades").mkdir(parents=True)
until = datetime.datetime(2031, 1, 1, tzinfo=datetime.timezone.utc)
fields = {"x-upstart-system": {"name": "shop", "number": 7}}
one, two = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ecdsa()
rsa = CryptoSigner.generate_rsa()


def write(signed, name, signers):
    document = Metadata(signed)
    for signer in signers:
        document.sign(signer, append=True)
    document.to_file(str(folder / "metadata" / name))


manifest = {
    "description": "",
    "files": [
        {"mode": "0644", "path": "upgrade.toml", "sha256": "0" * 64, "size": 1}
    ],
    "format": 1,
    "from": 0,
    "system": "shop",
    "version": 1,
}
text = json.dumps(manifest, separators=(",", ":")).encode()
digest = hashlib.sha256(text).hexdigest()
(folder / f"targets/upgrades/{digest}.1.1.json").write_bytes(text)

root = Root(expires=until, consistent_snapshot=True, unrecognized_fields=fields)
for role in ("root", "targets", "snapshot", "timestamp"):
    root.add_key(one.public_key, role)
    root.add_key(two.public_key, role)
    root.roles[role].threshold = 2
write(root, "1.root.json", [one, two])
root.version = 2
root.add_key(rsa.public_key, "targets")
root.roles["targets"].threshold = 3
write(root, "2.root.json", [one, two])

target = TargetFile.from_data("upgrades/1.1.json", text, ["sha256"])
target.unrecognized_fields = {"custom": {"from": 0, "withdrawn": False}}
targets = Targets(
    expires=until, targets={target.path: target}, unrecognized_fields=fields
)
write(targets, "1.targets.json", [one, two, rsa])
snapshot = Snapshot(
    expires=until, meta={"targets.json": MetaFile(1)}, unrecognized_fields=fields
)
write(snapshot, "1.snapshot.json", [one, two])
timestamp = Timestamp(
    expires=until, snapshot_meta=MetaFile(1), unrecognized_fields=fields
)
write(timestamp, "timestamp.json", [one, two])
