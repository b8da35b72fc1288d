#!/bin/sh
# Builds NAME.wasm.
set -eu
cd "$(dirname "$0")"
npm install --silent --no-audit --no-fund
npm run --silent build
