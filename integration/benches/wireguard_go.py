"""wireguard-go as a tunnel between two hosts of the lab, where the package is there: `apt-get install wireguard-go`. It is told what it needs
through its socket, so the package is enough. The keys are made up and open to everybody."""
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager

from lab import wait_for

PORT, NET = 7200, "10.11.0"
SOCKETS = "/var/run/wireguard"
KEYS = [("7088521b34a6c4664575b916ada8f37cf5385f8628c8c5504ea1a93dba00be6d", "77c1c014fe0a590b2e1a210d2d91ca8c05cfa94c0c6f235edc2221dae2012455"),
        ("b017ad37c8ce446de39e16c7dee19990a0a25b0086e33ce074c833618f5d5e75", "b50df1c1023f5cbf4a8e0050e58ec55228f233fa63a0d4a5c894f525c9ed077f")]
PROGRAM = shutil.which("wireguard-go")


def tell(device, lines):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(os.path.join(SOCKETS, f"{device}.sock"))
        s.sendall(("set=1\n" + "".join(f"{line}\n" for line in lines) + "\n").encode())
        return s.recv(4096).strip() == b"errno=0"


@contextmanager
def tunnel(lab, a, b):
    """Between hosts a and b while the block runs; -> (address of b in it, the pids of both ends). The handshake comes with the first packet."""
    ends = [(x, y, f"{lab.id}-wg{i}", i) for i, (x, y) in enumerate(((a, b), (b, a)))]
    running = [lab.start(x.ns, [PROGRAM, "-f", device], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for x, _, device, _ in ends]
    try:
        for x, y, device, i in ends:
            wait_for("wireguard-go's socket", lambda device=device: os.path.exists(os.path.join(SOCKETS, f"{device}.sock")), 10)
            done = tell(device, [f"private_key={KEYS[i][0]}", f"listen_port={PORT}", f"public_key={KEYS[1 - i][1]}",
                                 f"endpoint={y.ip}:{PORT}", f"allowed_ip={NET}.{2 - i}/32"])
            if not done:
                raise OSError("wireguard-go refused its configuration")
            lab.ip(x.ns, f"addr add {NET}.{i + 1}/24 dev {device}", f"link set {device} up")
        yield f"{NET}.2", [p.pid for p in running]
    finally:
        for p in running:
            p.terminate()
            p.wait()
