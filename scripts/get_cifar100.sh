#!/usr/bin/env bash
# Fetches CIFAR-100 (binary version, 161 MB) into DIR/cifar-100-binary; DIR is ./cifar100 unless named. Does nothing when
# it is there already.
#
#   scripts/get_cifar100.sh [DIR]
set -euo pipefail

url=https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz
md5=03b5dce01913d631647c71ecec9e9cb8

case "${1:-}" in
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "get_cifar100: unknown option $1 (usage: $0 [DIR])" >&2; exit 2 ;;
esac
if [ $# -gt 1 ]; then echo "get_cifar100: one folder at most (usage: $0 [DIR])" >&2; exit 2; fi

folder=${1:-cifar100}
set_folder=$folder/cifar-100-binary

fail() { echo "get_cifar100: $1" >&2; exit 1; }
complete() { # both files have the sizes of 50,000 and 10,000 records
    [ "$(stat -c %s "$1/train.bin" 2>/dev/null)" = 153700000 ] && [ "$(stat -c %s "$1/test.bin" 2>/dev/null)" = 30740000 ]
}

if complete "$set_folder"; then echo "CIFAR-100 is in $set_folder"; exit 0; fi
mkdir -p "$folder" 2>/dev/null || fail "cannot create the folder $folder; name one that can be written"
work=$(mktemp -d "$folder/.fetching-XXXXXX" 2>/dev/null) || fail "cannot write to the folder $folder; name one that can be written"
trap 'rm -rf "$work"' EXIT

archive=$work/archive.tar.gz
unreachable="cannot download $url: no network, or the server does not answer; fetch it elsewhere and unpack it in $folder"
if command -v curl >/dev/null; then
    curl --fail --location --silent --connect-timeout 20 --retry 2 --output "$archive" "$url" || fail "$unreachable"
elif command -v wget >/dev/null; then
    wget --quiet --timeout=20 --tries=3 --output-document="$archive" "$url" || fail "$unreachable"
else
    fail "needs curl or wget; install one of them (apt-get install curl)"
fi

found=$(md5sum "$archive" | cut -d ' ' -f 1)
[ "$found" = "$md5" ] || fail "the download has MD5 $found, expected $md5: damaged or not the file meant; try again"
tar -xzf "$archive" -C "$work" 2>/dev/null || fail "cannot unpack the archive in $folder; is the disk full?"
complete "$work/cifar-100-binary" || fail "the archive lacks train.bin or test.bin of the right size"
mkdir -p "$set_folder"
mv -f "$work"/cifar-100-binary/* "$set_folder"/  # train.bin comes last: what is incomplete is never taken for complete
echo "CIFAR-100 is in $set_folder"
