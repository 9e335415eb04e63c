# Makes the guest a workstation with its collector: the agent as the service that it installs itself, enrolled.
# Sourced by every script that the host sends.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C

collector() { /opt/vm/firstline-collector --data /var/lib/collector "$@"; }

api() { # PATH below /api/v1
  curl --disable --silent --show-error --fail --noproxy '*' --max-time 60 --cacert /var/lib/collector/authority/certificate.pem \
    --header @/run/authorization "https://localhost:8443/api/v1/$1"
}

start_collector() {
  systemctl reset-failed collector 2> /dev/null || true
  systemd-run --quiet --unit=collector --property=StandardOutput=truncate:/run/collector.log --property=StandardError=append:/run/collector.log \
    --setenv=HOME=/root /opt/vm/firstline-collector --data /var/lib/collector serve
  for _ in $(seq 300); do grep -q '^listening web' /run/collector.log && return; sleep 0.5; done
  echo "the collector does not listen"; tail -n 20 /run/collector.log; return 1
}

sign_in() { ( umask 077; collector api-token create --role viewer --json | sed -n 's/.*"token":"\([^"]*\)".*/Authorization: Bearer \1/p' > /run/authorization ); }

set_up() {
  set -e
  install -d -m 700 /var/lib/collector /var/lib/collector/knowledge.d /var/lib/firstline-agent
  cp /opt/vm/overrides/*.toml /var/lib/collector/knowledge.d/
  cp /opt/vm/agent.toml /var/lib/firstline-agent/
  chown -R root:root /opt/vm; chmod -R go-w /opt/vm
  start_collector
  collector token create --ttl 1h --json | sed -n 's/.*"url":"\([^"]*\)".*/\1/p' | /opt/vm/firstline-agent enroll -
  sign_in
  /opt/vm/firstline-agent service install
  /opt/vm/firstline-agent service start
}

again() { # after a restart of the machine; the agent's service starts by itself
  start_collector && sign_in
}
