#!/bin/sh
# Builds NAME.wasm.
set -eu
cd "$(dirname "$0")"
componentize-py -d wit -w calls-adapter componentize --stub-wasi adapter -o NAME.wasm
