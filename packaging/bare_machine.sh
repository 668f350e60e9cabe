#!/usr/bin/env bash
# Both of the README's commands on a bare Debian: packaging/bare_machine.sh FOLDER
#
# Makes FOLDER a minimal Debian 12 (debootstrap, minbase) with Python, make, git and certificates and
# nothing more, clones the last commit into it and runs `make demo` and `make test` there, the first on one
# core. Prints what each took. Needs root and debootstrap; about 3 GB in FOLDER, which is left for a
# look. Package mirrors, proxies and certificates are those of this machine's apt and pip.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
[ "$(id -u)" = 0 ] || { echo "needs root: debootstrap and chroot do"; exit 1; }
command -v debootstrap >/dev/null || { echo "type this first: apt-get install -y debootstrap"; exit 1; }
# Mounts are this script's own and go with it.
[ -n "${BARE_MACHINE_INSIDE:-}" ] \
  || BARE_MACHINE_INSIDE=1 exec unshare --mount --propagation private -- "$0" "$@"

suite=bookworm
include=python3,python3-venv,make,git,ca-certificates
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(realpath -m "$1")

# The mirror that apt would take the suite from.
mirror=$(apt-get indextargets --format '$(CODENAME) $(SITE)' 'Created-By: Packages' \
  | sed -n "s/^$suite //p" | head -n 1)
[ -n "$mirror" ] || { echo "apt here knows no mirror of $suite"; exit 1; }
[ -e "$folder/etc/debian_version" ] \
  || debootstrap --variant=minbase --include="$include" "$suite" "$folder" "$mirror" >"$folder.log" 2>&1 \
  || { tail "$folder.log"; exit 1; }

cp /etc/resolv.conf /etc/hosts "$folder/etc/"
apt-config dump | grep '^Acquire::.*::\(Proxy\|CaInfo\)' >"$folder/etc/apt/apt.conf.d/90here" || true
for file in etc/pip.conf root/.pip/pip.conf root/.config/pip/pip.conf; do
  [ ! -e "/$file" ] || install -D -m 644 "/$file" "$folder/$file"
done
mount -t proc proc "$folder/proc"
mount --bind /dev "$folder/dev"
# Folders that pip's configuration or the certificates' variables name are seen inside as here.
settings=$(env | grep -i '^\(pip_\|ssl_cert\|.*_proxy=\|requests_ca\|curl_ca\|git_ssl\)' || true)
{ echo "$settings"; pip config list 2>/dev/null || true; } | tr "'=" '  ' | grep -o '/[^/ :]\+\(/[^/ :]\+\)\+' | sort -u \
  | while read -r path; do
    [ -e "$path" ] || continue
    path=$(dirname "$path")
    mkdir -p "$folder$path"
    mountpoint -q "$folder$path" || mount --bind -o ro "$path" "$folder$path"
  done

inside() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 ${settings:+$(tr '\n' ' ' <<<"$settings")} \
    chroot "$folder" bash -c "cd /root/imagine_deblur && $1"
}
rm -rf "$folder/root/imagine_deblur"
git clone -q --no-local "$repository" "$folder/root/imagine_deblur"
echo "commit $(git -C "$folder/root/imagine_deblur" rev-parse --short HEAD), $(date -u +%F)," \
  "$(cat "$folder/etc/debian_version"), $(inside 'dpkg --list | grep -c ^ii') packages"
TIMEFORMAT='real %R s, user %U s, system %S s'
for target in demo test; do
  echo "== make $target"
  cores=$([ $target = demo ] && echo "taskset -c 0" || true)
  time inside "$cores make $target" >"$folder.$target.log" 2>&1 && status=0 || status=$?
  tail -n 12 "$folder.$target.log"
  [ $status = 0 ] || { echo "make $target failed with $status: $folder.$target.log"; exit 1; }
done
echo "both passed"
