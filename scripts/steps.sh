# Sourced by scripts that run steps: all of them run, whatever failed before,
# and the script says at its end what failed.

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failed=()

# step TITLE COMMAND…: runs a command and remembers whether it failed.
step() {
  local title=$1; shift
  printf '\n== %s\n' "$title"
  if ! "$@" 2>&1 | tee "$log/out"; then
    failed+=("$title")
    # go test names what failed; of another command, the title says enough.
    grep -E '^ *--- FAIL|^ *FAIL[[:space:]]+[^ ]|^ *panic:' "$log/out" | sed 's/^ */    /' | awk '!seen[$0]++' >"$log/${#failed[@]}" || true
  fi
}

# finish says what failed, and ends the script.
finish() {
  [ ${#failed[@]} -gt 0 ] || { printf '\nEverything passed.\n'; exit 0; }
  printf '\nFailed:\n'
  local i
  for i in "${!failed[@]}"; do
    echo "  ${failed[$i]}"
    cat "$log/$((i + 1))"
  done
  exit 1
}
