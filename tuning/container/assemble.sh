#!/bin/sh
# Lays the image of the gateway out below a directory: what the Dockerfile copies into an empty image,
# and what runs without any container engine under `chroot`, `unshare` or systemd's RootDirectory=.
#
#   assemble.sh ROOT BINARY
#
# ROOT is made, or must be empty. Run as root: owners and the file capability need it. Nothing else of
# the host is changed.
set -eu

[ $# -eq 2 ] || { echo "usage: $0 ROOT BINARY" >&2; exit 64; }
root=$1 binary=$2
uid=10001
[ "$(id -u)" = 0 ] || { echo "$0: must run as root" >&2; exit 77; }
[ -x "$binary" ] || { echo "$0: $binary is not there" >&2; exit 66; }
mkdir -p "$root"
[ -z "$(ls -A "$root")" ] || { echo "$0: $root is not empty" >&2; exit 73; }
for tool in setcap ldd; do
	command -v "$tool" >/dev/null || { echo "$0: needs $tool" >&2; exit 69; }
done

umask 022
mkdir -p "$root/usr/local/bin" "$root/etc/sluice" "$root/etc/ssl/certs" "$root/var/lib/sluice" \
	"$root/tmp" "$root/proc" "$root/sys" "$root/dev" "$root/run"

install -m 0755 "$binary" "$root/usr/local/bin/sluice"

# Libraries where the binary looks for them, the loader among them.
ldd "$binary" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u |
while read -r library; do
	mkdir -p "$root$(dirname "$library")"
	install -m 0755 "$(readlink -f "$library")" "$root$library"
done
# Names are resolved by the C library, which loads these by name; newer ones have them built in.
for library in libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
	for found in /lib/*-linux-gnu/"$library" /usr/lib/*-linux-gnu/"$library" /lib64/"$library"; do
		[ -e "$found" ] || continue
		mkdir -p "$root$(dirname "$found")"
		install -m 0755 "$(readlink -f "$found")" "$root$found"
		break
	done
done

# Trust anchors of the build host, one file.
for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
	[ -e "$bundle" ] || continue
	install -m 0644 "$(readlink -f "$bundle")" "$root/etc/ssl/certs/ca-certificates.crt"
	break
done
[ -e "$root/etc/ssl/certs/ca-certificates.crt" ] ||
	echo "$0: no trust anchors found: upstream.tls.ca_file must name some" >&2

echo "sluice:x:$uid:$uid:sluice:/var/lib/sluice:/sbin/nologin" >"$root/etc/passwd"
echo "sluice:x:$uid:" >"$root/etc/group"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"

chown -R 0:0 "$root"
chown "$uid:$uid" "$root/var/lib/sluice"
chmod 0750 "$root/var/lib/sluice"
chmod 1777 "$root/tmp"
# After every change of owner, which takes capabilities away.
setcap cap_net_bind_service=+ep "$root/usr/local/bin/sluice"
