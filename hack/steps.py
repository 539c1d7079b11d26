#!/usr/bin/env python3
"""steps.py SYMBOLS OUT PROGRAM [ARG]...: runs PROGRAM instruction by instruction, and the processes that it makes until
they execute something else, and writes to OUT the functions that were entered, in the order of their first time.
SYMBOLS is the output of `nm --print-size PROGRAM`. Of hack/hot-functions."""
import bisect
import ctypes
import os
import signal
import sys

TRACEME, PEEKUSER, SINGLESTEP, DETACH, SETOPTIONS = 0, 3, 9, 17, 0x4200
FOLLOW = 0x2 | 0x4 | 0x8 | 0x10  # fork, vfork, clone, exec
EVENT_EXEC = 4
RIP = 16 * 8  # offset in struct user
WALL = 0x40000000

ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.restype = ctypes.c_long
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

symbols_file, out, program, *args = sys.argv[1:]
symbols = []
for line in open(symbols_file):
    fields = line.split()
    if len(fields) == 4 and fields[2] in "tTwWvViI":
        symbols.append((int(fields[0], 16), int(fields[1], 16), fields[3]))
symbols.sort()
starts = [symbol[0] for symbol in symbols]

first = os.fork()
if first == 0:
    ptrace(TRACEME, 0, None, None)
    os.execv(program, [program, *args])
os.waitpid(first, 0)
ptrace(SETOPTIONS, first, None, FOLLOW)
ptrace(SINGLESTEP, first, None, None)

entered = {}
low = high = 0
result = 1
while True:
    try:
        pid, status = os.waitpid(-1, WALL)
    except ChildProcessError:
        break
    if not os.WIFSTOPPED(status):
        if pid == first:
            result = os.waitstatus_to_exitcode(status)
            break
        continue
    event, stop, deliver = status >> 16, os.WSTOPSIG(status), 0
    if event == EVENT_EXEC:
        ptrace(DETACH, pid, None, None)
        continue
    if event == 0 and stop == signal.SIGTRAP:
        at = ptrace(PEEKUSER, pid, RIP, None) & (1 << 64) - 1
        if not low <= at < high:
            found = bisect.bisect_right(starts, at) - 1
            if found >= 0 and at < symbols[found][0] + max(symbols[found][1], 1):
                low, high = symbols[found][0], symbols[found][0] + symbols[found][1]
                entered.setdefault(symbols[found][2])
    elif event == 0 and stop != signal.SIGSTOP:
        deliver = stop
    ptrace(SINGLESTEP, pid, None, deliver)
with open(out, "w") as file:
    file.writelines(f"{name}\n" for name in entered)
sys.exit(result)
