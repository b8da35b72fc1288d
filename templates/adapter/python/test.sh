#!/bin/sh
# Tests what changes between the versions.
set -eu
cd "$(dirname "$0")"
python3 -m unittest
