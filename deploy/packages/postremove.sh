#!/bin/sh
# Runs after the package was removed. The data in /var/lib/callbackd and its user stay: they
# hold what was accepted, and the keys to it.
set -e

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
