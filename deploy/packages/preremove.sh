#!/bin/sh
# Runs before the package is removed, and before it is upgraded, which stops nothing: the
# argument is "remove" or 0 for a removal.
set -e

case "${1:-}" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now callbackd.service
for unit in $(systemctl list-units --plain --no-legend --all 'callbackd@*.service' | cut -d ' ' -f 1); do
  systemctl disable --now "$unit"
done
