#!/usr/bin/env bash
# Runs commands of the project on a bare machine: an empty Debian in a chroot, with a clean clone of HEAD and nothing else
# installed. What scripts/setup.sh forgets shows here and nowhere else. Needs root and debootstrap (installed if missing).
# usage: .ci/bare_debian.sh [bookworm|trixie] [COMMAND…]     default: bookworm (Debian 12), scripts/demo.sh
#   BARE_ROOT (/var/tmp/bare-debian) keeps the empty systems between calls; each call works on a copy that goes away.
set -euo pipefail
suite=bookworm
case "${1:-}" in bookworm | trixie) suite=$1; shift ;; esac
[ $# -gt 0 ] || set -- scripts/demo.sh
fail() { echo "bare machine ($suite): $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "a chroot needs root: run this with sudo"
project=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
base=${BARE_ROOT:-/var/tmp/bare-debian}/$suite
if [ ! -e "$base/.complete" ]; then
    command -v debootstrap >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap >/dev/null; } ||
        fail "debootstrap is missing and cannot be installed"
    rm -rf --one-file-system "$base"
    mkdir -p "$base"
    echo "bare machine ($suite): making an empty system in $base"
    debootstrap --variant=minbase "$suite" "$base" >"$base.log" 2>&1 || { tail -5 "$base.log" >&2; fail "debootstrap failed, see $base.log"; }
    touch "$base/.complete"
fi

root=$(mktemp -d "$base.XXXXXX")
clean_up() {
    umount -R "$root/proc" "$root/dev" 2>/dev/null || true
    mountpoint -q "$root/dev" || mountpoint -q "$root/proc" || rm -rf --one-file-system "$root"
}
trap clean_up EXIT
cp -a "$base/." "$root/"
# How this machine reaches package registries: name server, apt's and pip's settings, certificates.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/apt/apt.conf.d/99* /etc/ssl/certs/ca-certificates.crt; do
    [ -f "$file" ] && install -D -m 644 "$file" "$root$file"
done
mount -t proc proc "$root/proc" || fail "cannot mount inside a chroot here"
mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev" || fail "cannot mount inside a chroot here"
git clone -q --no-hardlinks "$project" "$root/project"

started=$SECONDS status=0
chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TERM=dumb \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    bash -c 'cd /project && exec "$@"' bare "$@" </dev/null || status=$?
echo "bare machine ($suite): '$*' ended with $status after $((SECONDS - started)) s"
exit $status
