#!/bin/sh
# Runs after the package was installed or upgraded.
set -e

if ! getent passwd callbackd >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/callbackd --no-create-home --shell /usr/sbin/nologin callbackd
fi

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
# After an upgrade the new version runs where the old one ran: first one server on a data
# directory, then the nodes on PostgreSQL, one after the other. Nothing is started that did
# not run before.
systemctl try-restart callbackd.service
for unit in $(systemctl list-units --plain --no-legend --state=active 'callbackd@*.service' | cut -d ' ' -f 1); do
  systemctl try-restart "$unit"
done
