# Faults of the guest: for each kind what it needs (KIND_prepare before the agent starts, KIND_begin right before its turn), how it
# breaks (KIND_inject), and how it is mended (KIND_mend). What the host does to the emulated hardware meanwhile stands with the kind
# in xtask/src/soak/vm/kinds.rs. Sourced after setup.sh.

# Drives are asked for their health twice an hour and when the agent starts; nobody waits half an hour here.
nvme_inject() { systemctl restart firstline-agent; }
nvme_mend() { systemctl restart firstline-agent; }

# The emulated drive fails every read of sector 60000.
io_inject() { for _ in 1 2 3 4; do dd if=/dev/sda of=/dev/null bs=4096 skip=7500 count=1 iflag=direct && return 1; done; true; }

md_prepare() {
  mkdir -p /root/disks
  for n in 1 2; do truncate -s 40M /root/disks/$n; losetup /dev/loop$n /root/disks/$n || return 1; done
  mdadm --quiet --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 /dev/loop1 /dev/loop2 < /dev/null
}
md_inject() { mdadm --quiet /dev/md0 --fail /dev/loop2; }
md_mend() { mdadm --quiet /dev/md0 --remove /dev/loop2 && mdadm --quiet --zero-superblock /dev/loop2 && mdadm --quiet /dev/md0 --add /dev/loop2; }

# The kernel looks for machine checks every five minutes unless told otherwise.
mce_prepare() { echo 1 > /sys/devices/system/machinecheck/machinecheck0/check_interval; }

# An LM80 without a board: one temperature (hot from 70, critical from 80 degrees), one fan that turns and one input without a fan.
chip() { i2cset -f -y "$(i2cdetect -l | sed -n 's/^i2c-\([0-9]*\).*stub.*/\1/p')" 0x28 "$@" b; }
sensor_prepare() {
  if lsmod | grep -q '^i2c_stub'; then return; fi
  modprobe i2c-dev && modprobe i2c-stub chip_addr=0x28 || return 1
  chip 0x05 0x14; chip 0x27 30; chip 0x38 70; chip 0x39 65; chip 0x3a 80; chip 0x3b 75; chip 0x28 0x4b; chip 0x29 0xff
  modprobe lm80
  echo lm80 0x28 > "/sys/bus/i2c/devices/i2c-$(i2cdetect -l | sed -n 's/^i2c-\([0-9]*\).*stub.*/\1/p')/new_device"
}
temp_prepare() { sensor_prepare; }
temp_inject() { chip 0x27 95; }
temp_mend() { chip 0x27 30; }
fan_prepare() { sensor_prepare; }
# It stands still, and the chip raises its alarm.
fan_inject() { chip 0x28 0xff; chip 0x02 0x04; }
fan_mend() { chip 0x28 0x4b; chip 0x02 0x00; }

link_prepare() { ip link set eth0 up; }

# Two radios in one machine: one is the access point, the other one the workstation's. A strength is set as a number of 64 bits, to
# which the 20 dBm of the sender are added.
strength() {
  mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
  for file in /sys/kernel/debug/ieee80211/*/hwsim/rx_rssi; do printf '%u' $(($1 - 20)) > "$file"; done
}
wifi_begin() {
  modprobe mac80211_hwsim radios=2 && mkdir -p /run/wifi || return 1
  printf 'interface=wlan0\ndriver=nl80211\nssid=corp\nhw_mode=g\nchannel=6\n' > /run/wifi/ap.conf
  printf 'ctrl_interface=/run/wpa_supplicant\nnetwork={\n ssid="corp"\n key_mgmt=NONE\n scan_freq=2437\n}\n' > /run/wifi/station.conf
  ip link set wlan0 up
  hostapd -B /run/wifi/ap.conf && wpa_supplicant -B -i wlan1 -c /run/wifi/station.conf -D nl80211 || return 1
  for _ in $(seq 60); do iw dev wlan1 link | grep -q Connected && break; sleep 0.5; done
  strength -40
}
wifi_inject() { strength -80; }
wifi_mend() { strength -40; }

# What the kernel keeps of a panic lies in memory that a warm restart leaves alone.
panic_prepare() { echo ramoops > /etc/modules-load.d/ramoops.conf; modprobe ramoops; }
panic_inject() { sync; ( sleep 1; echo c > /proc/sysrq-trigger ) > /dev/null 2>&1 & }
