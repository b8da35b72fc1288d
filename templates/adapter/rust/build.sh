#!/bin/sh
# Builds NAME.wasm.
set -eu
cd "$(dirname "$0")"
cargo build --quiet --release --target wasm32-wasip2
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip2/release/MODULE.wasm" NAME.wasm
