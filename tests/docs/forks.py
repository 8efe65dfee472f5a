"""`ccproxy` without the wait for its imports: a process that has them forks one of itself for each command.

Most of what a short command costs is reading modules. What is run is `ccproxy.cli.main`, in a process of its own with its own arguments, environment, folder
and streams; `PROGRAM` is what stands on PATH and asks for it.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback

PROGRAM = """\
#!{python} -SEI
import array, json, os, signal, socket, sys

asked = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}
door = socket.socket(socket.AF_UNIX)
door.connect({address!r})
door.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
answers = door.makefile("rwb")
answers.write(json.dumps(asked).encode() + b"\\n")
answers.flush()
pid = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
sys.exit(int(answers.readline() or 1))
"""


def main() -> None:
    """Serve at the address in the first argument until killed."""
    import ccproxy

    for module in pkgutil.walk_packages(ccproxy.__path__, "ccproxy."):
        if (
            not module.name.startswith(("ccproxy.script", "ccproxy.providers.claude_sdk"))
            and "__main__" not in module.name
        ):
            importlib.import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    while True:
        door, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(door)
        door.close()


def _answer(door: socket.socket) -> None:
    """The forked process: becomes the command."""
    _, passed, _, _ = door.recvmsg(1, socket.CMSG_SPACE(12))
    streams = array.array("i", passed[0][2])
    answers = door.makefile("rwb")
    asked = json.loads(answers.readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["ccproxy", *asked["arguments"]]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    answers.write(b"%d\n" % os.getpid())
    answers.flush()
    code = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    answers.write(b"%d\n" % code)
    answers.flush()
    os._exit(code)


def _run() -> int:
    from ccproxy.cli import main as command

    try:
        command()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
