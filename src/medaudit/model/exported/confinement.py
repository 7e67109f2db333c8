"""What a process gives up for good before it reads the program of somebody else.

On Linux (x86-64, aarch64) the kernel refuses, for all threads and whatever code asks: sockets, new
processes and programs, signals to others, and opening, making, renaming or removing files for
writing (seccomp, which needs no rights). Everywhere an audit hook refuses the same in Python, and
besides to unpickle, to import packages that are not listed, and to read files outside the
installation; native code could pass by the hook. Memory has a limit, and written files have none
of their own (setrlimit).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
import sysconfig
from pathlib import Path
from typing import Any

MEMORY = 16 * 2**30  # bytes of address space beside what is taken when the limit is set

REFUSED_EVENTS = (
    *("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn"),
    *("os.startfile", "os.kill", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link"),
    *("os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.putenv"),
    *(
        "os.unsetenv",
        "os.removexattr",
        "pty.",
        "shutil.",
        "tempfile.",
        "urllib.",
        "http.",
        "ftplib.",
    ),
    *("smtplib.", "imaplib.", "poplib.", "nntplib.", "telnetlib.", "webbrowser.", "sqlite3."),
    *("pickle.find_class", "ctypes.dlopen", "syslog.", "signal.pthread_kill"),
)
PACKAGES = {
    *(
        "torch",
        "functorch",
        "numpy",
        "sympy",
        "mpmath",
        "networkx",
        "optree",
        "opt_einsum",
        "gmpy2",
    ),
    *("typing_extensions", "onnxruntime", "medaudit", "filelock", "jinja2", "markupsafe"),
    *("_cython_3_2_4", "cython_runtime", "colorama", "_remote_module_non_scriptable", "numba"),
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def confine(*, limit_memory: bool) -> bool:
    """Give it up; there is no way back. Says whether the kernel refuses, too.

    Args:
        limit_memory: whether address space is limited; CUDA reserves more than any machine has.
    """
    sys.dont_write_bytecode = True
    _limit(limit_memory=limit_memory)
    kernel = confine_kernel()
    confine_python()
    return kernel


def _limit(*, limit_memory: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if limit_memory and Path("/proc/self/statm").exists():
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        largest = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (largest, largest))


def confine_python() -> None:
    """Install the audit hook."""
    roots = _readable()
    known = PACKAGES | set(sys.stdlib_module_names)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            _check_open(args, roots)
        elif event == "import":
            if args[0].partition(".")[0] not in known:
                raise ImportError(f"a model may not import {args[0]}")
        elif event.startswith(REFUSED_EVENTS):
            raise PermissionError(f"a model may not use {event}")

    sys.addaudithook(hook)


def _readable() -> tuple[str, ...]:
    import medaudit

    own = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    held = [sys.modules[name] for name in ("torch", "numpy", "onnxruntime") if name in sys.modules]
    packages = [str(Path(str(module.__file__)).parent) for module in (medaudit, *held)]
    system = ["/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system", "/usr/lib"]
    return tuple(os.path.realpath(folder) for folder in (*own, *packages, *system))


def _check_open(args: tuple[Any, ...], roots: tuple[str, ...]) -> None:
    path, mode, flags = args
    if isinstance(path, int):
        return
    writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & WRITES
    real = os.path.realpath(os.fsdecode(path))
    if writes or not any(real == root or real.startswith(root + os.sep) for root in roots):
        raise PermissionError(f"a model may not open {os.fsdecode(path)[:80]}")


# Numbers of system calls: of x86-64 and of aarch64, -1 where there is none.
REFUSED_CALLS = {
    **{"socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "sendto": (44, 206)},
    **{"sendmsg": (46, 211), "bind": (49, 200), "listen": (50, 201), "socketpair": (53, 199)},
    **{"accept4": (288, 242), "sendmmsg": (307, 269), "fork": (57, -1), "vfork": (58, -1)},
    **{"execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130)},
    **{"rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "ptrace": (101, 117)},
    **{"pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438)},
    **{"process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "bpf": (321, 280)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "creat": (85, -1)},
    **{"rename": (82, -1), "mkdir": (83, -1), "rmdir": (84, -1), "link": (86, -1)},
    **{"unlink": (87, -1), "symlink": (88, -1), "chmod": (90, -1), "chown": (92, -1)},
    **{"lchown": (94, -1), "utime": (132, -1), "mknod": (133, -1), "utimes": (235, -1)},
    **{"futimesat": (261, -1), "truncate": (76, 45), "fchmod": (91, 52), "fchown": (93, 55)},
    **{"mkdirat": (258, 34), "mknodat": (259, 33), "fchownat": (260, 54), "unlinkat": (263, 35)},
    **{"renameat": (264, 38), "linkat": (265, 37), "symlinkat": (266, 36), "fchmodat": (268, 53)},
    **{"renameat2": (316, 276), "fchmodat2": (452, 452), "utimensat": (280, 88)},
    **{"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "mount": (165, 40)},
    **{"removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16)},
    **{"umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268)},
    **{"unshare": (272, 97), "open_tree": (428, 428), "move_mount": (429, 429)},
    **{"fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442)},
    **{"open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "keyctl": (250, 219)},
    **{"add_key": (248, 217), "request_key": (249, 218), "userfaultfd": (323, 282)},
    **{"perf_event_open": (298, 241), "init_module": (175, 105), "finit_module": (313, 273)},
    **{"delete_module": (176, 106), "kexec_load": (246, 104), "reboot": (169, 142)},
    **{"swapon": (167, 224), "settimeofday": (164, 170), "clock_settime": (227, 112)},
    **{"mq_open": (240, 180), "msgget": (68, 186), "semget": (64, 190), "shmget": (29, 194)},
}
ABSENT_CALLS = {"clone3": (435, 435), "openat2": (437, 437)}  # glibc then uses older ones
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16
_NEW_THREAD, _X32 = 0x00010000, 0x40000000
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1


def confine_kernel() -> bool:
    """Install the filter of system calls in all threads; says whether this kernel has one."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    code = b"".join(struct.pack("HBBI", *each) for each in _filter(platform.machine()))
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    number = _SECCOMP[platform.machine()]
    return bool(libc.syscall(number, _SET_FILTER, _ALL_THREADS, program) == 0)


def _filter(machine: str) -> list[tuple[int, int, int, int]]:
    identity, column = _MACHINES[machine]
    refuse = (_RETURN, 0, 0, _FAIL | errno.EPERM)
    lines = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, identity),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        refuse,
    ]
    for calls, answer in ((REFUSED_CALLS, errno.EPERM), (ABSENT_CALLS, errno.ENOSYS)):
        numbers = [pair[column] for pair in calls.values() if pair[column] >= 0]
        for number in numbers:
            lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | answer)]
    for pair, argument, test, value, if_true in _conditions():
        if pair[column] >= 0:
            lines += [
                (_EQUAL, 0, 4, pair[column]),
                (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
                (test, *((0, 1) if if_true else (1, 0)), value),
                refuse,
                (_RETURN, 0, 0, _ALLOW),
            ]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _conditions() -> tuple[tuple[tuple[int, int], int, int, int, bool], ...]:
    """Calls, which argument, how it is tested against what, and whether they are refused if so."""
    return (
        ((2, -1), 1, _ANY_BIT, WRITES, True),  # open
        ((257, 56), 2, _ANY_BIT, WRITES, True),  # openat
        ((56, 220), 0, _ANY_BIT, _NEW_THREAD, False),  # clone, of anything but a thread
        ((234, 131), 0, _EQUAL, os.getpid(), False),  # tgkill, of another process
        ((302, 261), 0, _EQUAL, 0, False),  # prlimit64, of another process
    )
