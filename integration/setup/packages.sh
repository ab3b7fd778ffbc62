#!/bin/sh
# packages.sh SECTION...: installs what is missing of these sections of packages.txt and nothing else.
# Says first how much will be fetched. While apt works no service may start: a package that brings a daemon must not
# take the newcomer's ports. Whatever policy-rc.d was there before is there afterwards, also after Ctrl-C.
set -eu
cd "$(dirname "$0")/../.."
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
saved=$policy.before-edgemesh
mark='# made by integration/setup/packages.sh'

arch=$(dpkg --print-architecture 2>/dev/null || true)
wanted() {  # the packages of one section
  awk -v s="[$1]" -v arch="$arch" '/^[[:space:]]*(#|$)/ { next } /^\[/ { on = ($1 == s); next } on && (NF == 1 || $2 == arch) { print $1 }' packages.txt
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=
for section in "$@"; do
  list=$(wanted "$section")
  [ -n "$list" ] || { echo "packages.txt: no section [$section]" >&2; exit 2; }
  for p in $list; do
    installed "$p" || missing="$missing $p"
  done
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "these Debian 12 packages are needed:$missing" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "missing:$missing" >&2
  echo "  sudo $PWD/integration/setup/packages.sh $*" >&2
  exit 1
fi

plan() { apt-get install -y -qq --no-install-recommends --print-uris $missing 2>/dev/null; }
restore_policy() {
  if [ -e "$saved" ]; then mv -f "$saved" "$policy"
  elif grep -qs "$mark" "$policy"; then rm -f "$policy"; fi
}

uris=$(plan) || { echo "reading the package lists first"; apt-get update -qq; uris=$(plan) || {
  echo "apt cannot install:$missing (Debian 12 with its updates, component main, is what this is made for)" >&2
  apt-get install -s --no-install-recommends $missing 2>&1 | tail -5 >&2
  exit 1; }; }
echo "$uris" | awk -v names="$missing" '$1 ~ /^\x27/ { b += $3; n++ }
  END { printf "installing%s: %d packages, %.0f MB to fetch\n", names, n, b / 1e6 }'

restore_policy   # a run that was killed left ours behind
trap restore_policy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ ! -e "$policy" ] || mv "$policy" "$saved"
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy"
chmod 755 "$policy"
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $missing </dev/null >/dev/null; }
install || { echo "once more with fresh package lists"; apt-get update -qq; install; }
