#!/bin/bash
# Builds the guest of `cargo xtask soak vm` into the folder $1: guest.img, vmlinuz, initrd. Debian's packages only; as root.
# What the guest runs is not in the image: its first start unpacks the second drive, a tar archive, and runs guest.sh of it.
set -euo pipefail
out=$1
work=$(mktemp -d "$out/building.XXXXXX")
trap 'umount "$work/guest/proc" 2>/dev/null || true; rm -rf "$work"' EXIT
guest=$work/guest

debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,udev,kmod,linux-image-amd64,iproute2,mdadm,e2fsprogs,util-linux,procps,ca-certificates,curl,i2c-tools,iw \
  bookworm "$guest" ${MIRROR:+"$MIRROR"}

# These want a complete system when they are installed, which debootstrap's order does not give them.
printf '#!/bin/sh\nexit 101\n' > "$guest/usr/sbin/policy-rc.d"
chmod +x "$guest/usr/sbin/policy-rc.d"
mount -t proc proc "$guest/proc"
chroot "$guest" env DEBIAN_FRONTEND=noninteractive LC_ALL=C sh -ec '
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends wpasupplicant hostapd wireless-regdb
  apt-get clean'
umount "$guest/proc"
rm "$guest/usr/sbin/policy-rc.d"

# Nobody can log in, and nothing but the tests starts by itself.
echo vm-guest > "$guest/etc/hostname"
printf '127.0.0.1 localhost vm-guest\n' > "$guest/etc/hosts"
echo 'LABEL=vmroot / ext4 errors=remount-ro 0 1' > "$guest/etc/fstab"
for unit in wpa_supplicant.service hostapd.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer \
  e2scrub_reap.service mdadm-shutdown.service mdmonitor-oneshot.timer mdcheck_start.timer mdcheck_continue.timer; do
  ln -sf /dev/null "$guest/etc/systemd/system/$unit"
done
# mdadm's own watcher would mail; the arrays of the tests are loops that nothing must put together at a start.
ln -sf /dev/null "$guest/etc/systemd/system/mdmonitor.service"
cat > "$guest/etc/systemd/system/guest.service" <<'U'
[Unit]
Description=Does what the host asks
After=multi-user.target
[Service]
Type=simple
ExecStart=/bin/sh -c 'mkdir -p /opt/vm && tar -xf /dev/disk/by-id/virtio-payload -C /opt/vm && exec bash /opt/vm/guest.sh'
StandardOutput=journal+console
[Install]
WantedBy=default.target
U
mkdir -p "$guest/etc/systemd/system/default.target.wants"
ln -sf ../guest.service "$guest/etc/systemd/system/default.target.wants/guest.service"

cp "$guest"/boot/vmlinuz-* "$out/vmlinuz"
cp "$guest"/boot/initrd.img-* "$out/initrd"
truncate -s 3G "$work/guest.img"
rm -rf "$guest/var/log/journal"   # the log of a start in memory is enough
mkfs.ext4 -q -F -L vmroot -d "$guest" "$work/guest.img"
# Last: an image that is there is complete.
mv "$work/guest.img" "$out/guest.img"
