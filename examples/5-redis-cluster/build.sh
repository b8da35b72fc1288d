#!/bin/sh
# Builds the adapter and puts it into version 2's bundle. Once before: rustup target add wasm32-wasip2
set -eu
cd "$(dirname "$0")"
(cd adapter && CARGO_PROFILE_RELEASE_STRIP=true cargo build --quiet --release --target wasm32-wasip2)
target=$(cargo metadata --quiet --no-deps --format-version 1 --manifest-path adapter/Cargo.toml | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
cp "$target/wasm32-wasip2/release/redis_bus_adapter.wasm" v2/
