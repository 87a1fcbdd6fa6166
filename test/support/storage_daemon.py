"""pepita-storage as a child process, for tests of the program, of the lab and with QEMU."""
import os
import select
import signal
import subprocess


class StorageDaemon:
    """A running pepita-storage; unless told not to check, its socket is there."""

    def __init__(self, program, *options, check: bool = True, patience_s: float = 120):
        self.patience_s = patience_s  # only a hang gets there
        self.process = subprocess.Popen([program, *options], stderr=subprocess.PIPE)
        self.log = ""
        while check and "msg=serving" not in self.log:
            # Not by lines: of two that come at once, a buffer would keep the second from select().
            ready, _, _ = select.select([self.process.stderr], [], [], patience_s)
            said = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            self.log += said.decode()
            if not said:
                self.end(signal.SIGKILL)
                raise RuntimeError("pepita-storage does not serve: " + self.log)

    def end(self, how: int = signal.SIGTERM) -> int:
        """Its exit status, as subprocess has it; the same once more where it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        if not self.process.stderr.closed:
            _, rest = self.process.communicate(timeout=self.patience_s)
            self.log += rest.decode()
        return self.process.returncode
