#!/usr/bin/env bash
# The browser that the page tests drive: installed where that needs no question, named where it does.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" > /dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing Debian's chromium for the browser tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null
else
    echo "*** no chromium: the BROWSER TESTS WILL BE SKIPPED. Install it (Debian: sudo apt-get install chromium)." >&2
fi
