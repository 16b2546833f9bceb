"""A SLURM of two nodes on this one machine, for as long as a test takes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NODES = ("n1", "n2")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol", "runuser")
# A job put back into the queue waits for as long as credentials live: two minutes, unless told.
CONFIG = """\
ClusterName=movideo
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=60
SlurmdTimeout=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeHostname={host} Port={ports[1]} CPUs=2 RealMemory=8000
NodeName=n2 NodeHostname={host} Port={ports[2]} CPUs=2 RealMemory=8000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What this machine lacks to run SLURM; empty if nothing."""
    lacking = [program for program in PROGRAMS if _found(program) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed"
    return "" if os.geteuid() == 0 else "needs root"


class TwoNodes:
    """Runs SLURM's commands, and keeps what they said.

    Args:
        folder: of the daemons' files, on a path that user `munge` may enter.
        transcript: the file that commands and answers are appended to.
    """

    def __init__(self, folder: Path, transcript: Path) -> None:
        self.transcript = transcript
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def note(self, text: str) -> None:
        """Appends to the transcript."""
        with self.transcript.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def run(self, *command: object, **options: object) -> str:
        """What a command prints. It stands in the transcript, with the answer."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, capture_output=True, text=True, env=self.environment, timeout=60, **options
        )
        self.note(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def start_node(self, node: str) -> None:
        """Brings a node up, as its operator does."""
        self.run(_found("slurmd"), "-N", node)

    def kill_node(self, node: str, folder: Path) -> None:
        """Ends a node as a power failure does: its daemon and all that it runs, at once."""
        daemon = int((folder / f"slurmd-{node}.pid").read_text())
        steps = [
            process
            for process, words in _processes().items()
            if words and words[0].startswith("slurmstepd") and _listens(process, folder, node)
        ]
        for process in (daemon, *_with_children(steps)):
            self.note(f"kill -9 {process} ({' '.join(_processes().get(process, []))[:80]})")
            os.kill(process, signal.SIGKILL)

    def job(self, number: str) -> dict[str, str]:
        """What SLURM knows of a job: JobState, Restarts and others."""
        words = ("scontrol", "--oneliner", "show", "job", number)
        told = subprocess.run(words, capture_output=True, text=True, env=self.environment).stdout
        return dict(word.split("=", 1) for word in told.split() if "=" in word)

    def wait(self, number: str, seconds: float) -> dict[str, str]:
        """The job when it has ended.

        A job that was put back into the queue has not, nor has one whose processes are being ended.
        """
        ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        wait_for(lambda: self.job(number).get("JobState") in ends, seconds, f"job {number} to end")
        self.run("scontrol", "show", "job", number)
        job = self.job(number)
        self.note(f"{job['StdOut']}:\n{read(Path(job['StdOut']))}")
        return job


@contextmanager
def two_nodes(folder: Path, transcript: Path) -> Iterator[TwoNodes]:
    """Brings SLURM up; whatever happens within, its daemons are stopped by their numbers."""
    munge = folder / "munge"
    for path in (munge, folder / "state"):
        path.mkdir(parents=True)
    shutil.chown(munge, "munge")
    munge.chmod(0o755)
    key = munge / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    shutil.chown(key, "munge")
    (folder / "slurm.conf").write_text(
        CONFIG.format(folder=folder, host=socket.gethostname(), ports=_free_ports(3)), "utf-8"
    )
    slurm = TwoNodes(folder, transcript)
    try:
        slurm.run(
            "runuser", "-u", "munge", "--", _found("munged"),
            *(f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")),
            f"--socket={munge / 'socket'}",
        )  # fmt: skip
        slurm.run(_found("slurmctld"))
        for node in NODES:
            slurm.start_node(node)
        wait_for(
            lambda: slurm.run("sinfo", "--noheader", "--format=%T %D") == "idle 2", 30, "two nodes"
        )
        slurm.run("sinfo")
        yield slurm
    finally:
        try:
            _end_jobs(slurm)
        finally:
            for path in (*folder.glob("slurm*.pid"), munge / "pid"):
                if path.is_file():
                    _stop(int(path.read_text()))


def read(path: Path) -> str:
    """What a job printed. Where several of its programs did, characters may be torn."""
    return path.read_text("utf-8", errors="replace")


def wait_for(reached: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns when something is so.

    Raises:
        TimeoutError: it is not so in time.
    """
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.5)


def _processes() -> dict[int, list[str]]:
    """The command lines of all processes by their numbers."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_text(errors="replace").split("\0")
        except OSError:  # ended meanwhile
            continue
    return found


def _listens(process: int, folder: Path, node: str) -> bool:
    """Whether a step's daemon is that node's: its socket lies in the node's spool."""
    spool = str(folder / f"spool-{node}")
    try:
        sockets = Path("/proc/net/unix").read_text().splitlines()
        own = {
            os.readlink(link).partition("[")[2].rstrip("]")
            for link in Path(f"/proc/{process}/fd").iterdir()
            if os.readlink(link).startswith("socket:")
        }
    except OSError:
        return False
    return any(line.split()[6] in own and spool in line for line in sockets[1:])


def _with_children(processes: list[int]) -> list[int]:
    """Those and all that they have started, parents first."""
    parents = {}
    for number in _processes():
        try:
            stat = Path(f"/proc/{number}/stat").read_text()
        except OSError:
            continue
        parents[number] = int(stat.rpartition(")")[2].split()[1])
    found = list(processes)
    for one in found:
        found += [number for number, parent in parents.items() if parent == one]
    return found


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _end_jobs(slurm: TwoNodes) -> None:
    """Jobs outlive the daemons; those that a failed test left behind are ended first."""
    listing = ("squeue", "--noheader", "--format=%A")

    def numbers() -> list[str]:
        done = subprocess.run(listing, capture_output=True, text=True, env=slurm.environment)
        return done.stdout.split()

    for number in numbers():
        subprocess.run(("scancel", "--full", "--signal=KILL", number), env=slurm.environment)
        subprocess.run(("scancel", number), env=slurm.environment)
    wait_for(lambda: not numbers(), 90, "jobs to end")


def _stop(process: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(process, number)
            wait_for(lambda: not Path(f"/proc/{process}").exists(), 10, f"process {process} to end")
        except ProcessLookupError:
            return
        except TimeoutError:
            continue
