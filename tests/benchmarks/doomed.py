"""What ends a process, in a module that imports nothing else: the process imports it first."""

import os
import signal


class Doomed:
    def die(self) -> None:
        print("my last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
