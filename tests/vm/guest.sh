#!/bin/bash
# What runs in the guest of `cargo xtask soak vm`: takes scripts from the host over a virtio port, one at a time, and answers each
# with its exit code, the guest's uptime in seconds, and what it printed.
#   host:  <seconds> <bytes>\n<script>          guest: <exit code> <uptime> <bytes>\n<output>
# After each start it says "ready <uptime> 0\n" first, so that the host notices a restart.
exec 3<> /dev/virtio-ports/vm.control
out=$(mktemp)
uptime() { cut -d' ' -f1 /proc/uptime; }
printf 'ready %s 0\n' "$(uptime)" >&3
while :; do
  # While nobody holds the other end, reading ends at once.
  IFS=' ' read -r seconds bytes <&3 || { sleep 0.5; continue; }
  head -c "$bytes" <&3 > /run/vm-script
  # What a script leaves running must let go of the output, or timeout waits for it.
  timeout --kill-after=5 "$seconds" bash /run/vm-script > "$out" 2>&1 3>&- < /dev/null
  code=$?
  printf '%s %s %s\n' "$code" "$(uptime)" "$(stat -c %s "$out")" >&3
  cat "$out" >&3
done
