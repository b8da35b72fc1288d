#!/bin/sh
# Tests what changes between the versions.
set -eu
cd "$(dirname "$0")"
npm test --silent
