/** System calls that the seccomp profile refuses, tried from Python; prints what became of each as JSON. */

/** Numbers for x86_64 and aarch64; arguments with which the call would do something where it is allowed. */
export const ATTACK = `
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
calls = {
    "keyctl": (250, 219, [0, -3, 0]), "add_key": (248, 217, [b"user", b"x", b"y", 1, -3]),
    "request_key": (249, 218, [b"user", b"x", None, -3]), "unshare": (272, 97, [0x10000000]),
    "setns": (308, 268, [-1, 0]), "bpf": (321, 280, [0, None, 0]), "mount": (165, 40, [b"x", b"/tmp", b"tmpfs", 0, None]),
    "ptrace": (101, 117, [0, 0, 0, 0]), "userfaultfd": (323, 282, [0]), "perf_event_open": (298, 241, [None, 0, -1, -1, 0]),
    "io_uring_setup": (425, 425, [1, None]), "process_vm_readv": (310, 270, [os.getpid(), None, 0, None, 0, 0]),
    "io_setup": (206, 0, [1, None]), "name_to_handle_at": (303, 264, [-1, b"/", None, None, 0]),
}
result = {}
for name, (number, arm, args) in calls.items():
    ctypes.set_errno(0)
    args = [a if a is None or isinstance(a, bytes) else ctypes.c_long(a) for a in args]
    returned = libc.syscall(ctypes.c_long(number if x86 else arm), *args)
    result[name] = "ok" if returned >= 0 else errno.errorcode[ctypes.get_errno()]
print(json.dumps(result))
`;
