"""A network namespace for a test that CNI's plugins run in."""
import ctypes
import os
import pathlib
import subprocess
import sys


def enter():
    """Moves this process into one, with mounts of its own: the plugins find namespaces by path."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, clone_newnet = 0x00020000, 0x40000000
    if libc.unshare(clone_newns | clone_newnet) != 0:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: unshare: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for folder in ("/run/netns", "/var/lib/cni"):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
