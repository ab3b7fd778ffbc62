"""A machine of its own for programs that use fixed paths: a namespace of the lab with its own /etc, /run, /usr/local, state, home and
name. Commands run as a person at its shell would run them; what has no counterpart without a booted system is stood in for:
systemctl starts what the installed unit says, under the unit's capabilities; scp copies between the machines of the lab."""
import os
import subprocess

from lab import LabError, started_at

SYSTEMCTL = r'''#!/bin/sh
set -e
case "$1 $2" in "enable --now") name=$3 ;; "start "*|"restart "*|"stop "*) name=$2 ;; "is-active "*) name=$2 ;; *) exit 0 ;; esac
for d in /usr/local/lib/systemd/system /lib/systemd/system; do [ ! -e "$d/$name.service" ] || unit=$d/$name.service; done
[ -n "$unit" ] || { echo "Failed to start $name.service: Unit $name.service not found." >&2; exit 5; }
value() { sed -n "s/^$1=//p" "$unit"; }
running() { [ -s "$MACHINE/unit.pid" ] && kill -0 "$(cat "$MACHINE/unit.pid")" 2>/dev/null; }
case "$1" in is-active) running && exit 0 || exit 3 ;; esac
case "$1" in stop|restart)
  if running; then kill "$(cat "$MACHINE/unit.pid")"; while running; do sleep 0.05; done; fi
  [ "$1" = restart ] || exit 0 ;;
esac
mkdir -p "/run/$(value RuntimeDirectory)" "/var/lib/$(value StateDirectory)"
bounds=-all
for c in $(value CapabilityBoundingSet); do bounds=$bounds,+$(echo "${c#CAP_}" | tr A-Z a-z); done
umask "$(value UMask)"
setsid setpriv --no-new-privs --bounding-set="$bounds" --inh-caps=-all $(value ExecStart) >>"$MACHINE/daemon.log" 2>&1 </dev/null &
echo $! > "$MACHINE/unit.pid"
echo $! >> "$MACHINE/pids"
'''

SCP = r'''#!/bin/sh
# scp FILE... [user@]ADDRESS:DIR
set -e
for last; do :; done
address=${last%%:*}
to=$MACHINES/${address##*@}
case "${last#*:}" in /etc/*) to=$to/etc/${last#*:/etc/} ;; *) echo "scp: only into /etc here: $last" >&2; exit 1 ;; esac
while [ $# -gt 1 ]; do cp "$1" "$to"; shift; done
'''

SUDO = '#!/bin/sh\nexec "$@"\n'

# $0 the machine's folder, $1 its name, $2 the command
SHELL = r'''set -e
mount --bind /var/lib "$0/lower"
for d in etc:/etc run:/run local:/usr/local state:/var/lib; do mount --bind "$0/${d%%:*}" "${d#*:}"; done
hostname "$1"
export PATH="$0/bin:/usr/local/sbin:/usr/local/bin:$PATH" HOME="$0/home" MACHINE="$0" MACHINES="$(dirname "$0")/at"
cd "$3"
eval "$2"
'''


def session_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return int(f.read().rsplit(")", 1)[1].split()[3])
    except OSError:
        return None


class Machine:
    def __init__(self, lab, ns, name, ip):
        self.lab, self.ns, self.name, self.ip = lab, ns, name, ip
        self.sessions = set()
        self.dir = os.path.join(lab.dir, name)
        for d in ("run", "local/bin", "state", "home", "bin", "lower"):
            os.makedirs(os.path.join(self.dir, d))
        subprocess.run(["cp", "-a", "/etc", os.path.join(self.dir, "etc")], stderr=subprocess.DEVNULL)  # not what only root may read
        for entry in os.listdir("/var/lib"):  # dpkg's and others' state, seen through the machine's own folder
            if entry != "edgemeshd":
                os.symlink(os.path.join(self.dir, "lower", entry), os.path.join(self.dir, "state", entry))
        for tool, text in (("systemctl", SYSTEMCTL), ("scp", SCP), ("sudo", SUDO)):
            path = os.path.join(self.dir, "bin", tool)
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755)
        os.makedirs(os.path.join(lab.dir, "at"), exist_ok=True)
        os.symlink(self.dir, os.path.join(lab.dir, "at", ip))
        lab.nodes[ns] = self

    def run(self, command, cwd=None, timeout=60, check=True, env=None):
        """The command line at this machine's shell; -> what it printed, both streams. What it leaves running is the lab's to end."""
        out = os.path.join(self.dir, "output")
        with open(out, "w") as f:
            p = subprocess.Popen(self.lab.inside(self.ns, ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", SHELL, self.dir,
                                                           self.name, command, cwd or os.path.join(self.dir, "home")]),
                                 stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True)
            self.sessions.add(p.pid)
            try:
                code = p.wait(timeout)
            except subprocess.TimeoutExpired:
                p.kill()
                code = f"none after {timeout} s"
        self.adopt()
        with open(out, errors="replace") as f:
            text = f.read()
        if check and code != 0:
            raise LabError(f"{self.name}$ {command}\n{text.strip()[-800:]}\nexit status {code}")
        return text

    def adopt(self):
        """Notes programs left running in the lab's state, so that they end with it."""
        pids = {int(p) for p in os.listdir("/proc") if p.isdigit() and session_of(p) in self.sessions}
        if os.path.exists(os.path.join(self.dir, "pids")):
            with open(os.path.join(self.dir, "pids")) as f:
                pids |= {int(line) for line in f if line.strip()}
        known = {p for p, _ in self.lab.pids}
        self.lab.pids += [(p, started_at(p)) for p in pids - known if started_at(p) is not None]
        self.lab.save()

    def daemon_pid(self):
        with open(os.path.join(self.dir, "unit.pid")) as f:
            return int(f.read())

    def last_log(self, lines=15):
        try:
            with open(os.path.join(self.dir, "daemon.log"), errors="replace") as f:
                return "".join(f.readlines()[-lines:]).rstrip()
        except OSError:
            return ""
