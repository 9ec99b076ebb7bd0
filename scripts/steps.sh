# Sourced by scripts that run steps. All steps run, even after a failure. At the
# end the script lists what failed and the command that repeats each failure.

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failed=()

# step TITLE COMMAND…: runs a command, prints how long it took and remembers
# whether it failed.
step() {
  local title=$1; shift
  printf '\n== %s\n' "$title"
  local began=$SECONDS status=passed
  if ! "$@" 2>&1 | tee "$log/out"; then
    status=FAILED
    failed+=("$title")
    repeats "$@" <"$log/out" >"$log/${#failed[@]}" || true
  fi
  echo "-- $status: $title, $((SECONDS - began)) s"
}

# repeats COMMAND…: reads the output of a failed command and prints the commands
# that repeat the failures. A test of ./... is repeated alone, in its package.
repeats() {
  local command=$*
  [ "$(type -t "$1")" != function ] || command='go test ./...'
  case "$command" in
  *'go test'*' ./...'*) ;;
  *) echo "    $command"; return ;;
  esac
  awk -v command="$command" '
    function repeat(run, pkg) {
      sub(/^callbackd/, ".", pkg)
      line = command
      sub(/ \.\/\.\.\..*/, "", line)
      print "    " line run " " pkg
    }
    /^--- FAIL: / { names[++n] = $3 }
    /^FAIL\t/ {
      for (i = 1; i <= n; i++) repeat(" -run '"'"'^" names[i] "$'"'"'", $2)
      if (n == 0) repeat("", $2) # it does not build, or it panicked
      n = 0
    }
    /^ok  \t/ { n = 0 }
  '
}

# finish says what failed and ends the script.
finish() {
  [ ${#failed[@]} -gt 0 ] || { printf '\nEverything passed in %d min %d s.\n' $((SECONDS / 60)) $((SECONDS % 60)); exit 0; }
  printf '\nFailed. Repeat each failure with:\n'
  local i
  for i in "${!failed[@]}"; do
    echo "  ${failed[$i]}"
    cat "$log/$((i + 1))"
  done
  exit 1
}
